"""Depths of the queues between the stages, chosen by the exact clock: no deeper than the interval needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from scaflow.hw.clock import predict
from scaflow.hw.design import Design
from scaflow.hw.recordings import Given
from scaflow.quant.graph import execute

SLACK = 0.01  # by which the interval may be longer than with queues that never fill
LARGE = 1024


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
    """The smallest depth, a power of two, of the queue behind each spiking stage, by the stage's name.

    With all of them together the mean interval over the images, fed without gaps, is at most 1 % longer than with
    queues of LARGE words, and the design does not stand still; where no time depends on the data, it comes to the same
    interval as with those. Each is made as small as that allows while those behind it are large: the queue behind the
    last stage is chosen last.

    Args:
        images: uint8 [N, C, H, W], or recordings, at least 3; those the activity was measured on.

    Raises:
        ValueError: fewer images; or the design stands still even with large queues.
    """
    if len(images) < 3:
        raise ValueError(f"FIFO depths: {len(images)} images show no interval; give at least 3")
    spikes = execute(design.graph, images, trace=True)[1] if isinstance(images, np.ndarray) else None
    depths = {stage.name: LARGE for stage in design.stages if stage.out_edge is not None}

    def intervals(tried: Mapping[str, int]) -> np.ndarray:
        return predict(with_fifos(design, tried), images, spikes=spikes).interval

    free = intervals(depths)
    longest, settled = (1 + SLACK) * free.mean(), free[-1] if design.interval else np.inf
    for name in depths:
        depth = 2
        while depth < LARGE:
            try:
                tried = intervals(depths | {name: depth})
                if tried.mean() <= longest and tried[-1] <= settled:
                    break
            except ValueError:  # it stands still
                pass
            depth *= 2
        depths[name] = depth
    return depths
