"""Depths of the queues between the stages, chosen by the exact clock: no deeper than the interval needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from scaflow.hw.clock import predict
from scaflow.hw.design import Design
from scaflow.hw.recordings import Given, as_frames
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.graph import execute

SLACK = 0.01  # by which the interval may be longer than with queues that never fill
LARGE = 1024
WIDE = 4


def with_fifos(design: Design, depths: Mapping[str, int]) -> Design:
    """The design with other depths of the queues behind the named stages."""
    parts = []
    for part in design.parts:
        names = {queue.name: queue.name if part.kind == "fork" else part.name for queue in part.queues}
        instances = tuple(
            replace(i, cfg=replace(i.cfg, depth=depths[names[i.name]])) if names.get(i.name) in depths else i
            for i in part.instances
        )
        stage = part.stage and replace(part.stage, instances=instances)
        parts.append(replace(part, instances=instances, stage=stage))
    return replace(design, parts=tuple(parts))


def choose_fifos(design: Design, images: Given) -> dict[str, int]:
    """The smallest depth, a power of two, of the queue behind each spiking stage, by the stage's name; and of each
    queue behind a fork, by its own, that which it has or a few quarters more.

    With all of them together the mean interval over the images, fed without gaps, is at most 1 % longer than with
    queues of LARGE words (of a fork, with WIDE times what they have), and the design does not stand still; where no
    time depends on the data, it comes to the same interval as with those. Each is made as small as that allows while
    those behind it are large: the queue behind the last stage is chosen last, but for those of forks.

    Args:
        images: uint8 [N, C, H, W], or recordings, at least 3; those the activity was measured on.

    Raises:
        ValueError: fewer images; or the design stands still even with large queues.
    """
    if len(images) < 3:
        raise ValueError(f"FIFO depths: {len(images)} images show no interval; give at least 3")
    frames, lengths = as_frames(images)
    spikes = execute(design.graph, frames, trace=True, lengths=lengths)[1]
    tries = {
        stage.name: tuple(2**n for n in range(1, LARGE.bit_length())) for stage in design.stages if stage.out_edge
    }
    for part in design.parts:
        for queue in part.queues if part.kind == "fork" else ():
            depth = int(queue.cfg.depth)
            tries[queue.name] = tuple(depth + n * ceil_div(depth, 4) for n in range(4 * WIDE - 3))
    depths = {name: offered[-1] for name, offered in tries.items()}

    def intervals(tried: Mapping[str, int]) -> np.ndarray:
        return predict(with_fifos(design, tried), images, spikes=spikes).interval

    free = intervals(depths)
    longest, settled = (1 + SLACK) * free.mean(), free[-1] if design.interval else np.inf
    for name, offered in tries.items():
        for depth in offered[:-1]:
            try:
                tried = intervals(depths | {name: depth})
            except ValueError:  # it stands still
                continue
            if tried.mean() <= longest and tried[-1] <= settled:
                depths[name] = depth
                break
    return depths
