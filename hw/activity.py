"""What the spikes of a network ask of an event scheduler: events per window, and the cycle law that follows.

law    a stage costs an image  FOLDS * sum over output pixels and steps of max(1, n)       n = max over banks
       of the events in the window; ideal: all events / SIMD. With fewer neurons than sums, results that take fewer
       cycles than these need wait for each other (see `hw.serving`). A window of the read-out is a word, and one
       without events costs nothing while the word before it is walked (see `law_words`)
event  a spike, a group of synapses that is not silent (`hw.groups`), or in the first layer, whose image enters once, a
       pixel of which what is seen is not zero
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scaflow.hw import compiled, groups
from scaflow.hw.cycles import words_of
from scaflow.hw.groups import SYNAPSE, Group, Kernel
from scaflow.hw.serving import Words, repeated, served, told
from scaflow.quant.golden.beats import ceil_div
from scaflow.quant.graph import IMAGE, Graph, Readout, Weighted, execute


def window_events(spikes: np.ndarray, node: Weighted, bank: Sequence[int] | np.ndarray) -> np.ndarray:
    """Events in the fullest bank of each window, which are the steps a fold of it takes (0 where nothing spiked).

    Args:
        spikes: uint8 [N, T, C, H, W], what the node reads: a trace of `quant.graph.execute`, or what
            is seen of the images, [N, 1, C, H, W].
        bank: of each of the C channels, from 0; -1 for a channel that is never walked. All channels in one bank
            gives the number of events.

    Returns:
        int32 [N, OH, OW, T].

    Raises:
        ValueError: `bank` does not give one number a channel, or `spikes` have another shape.
    """
    banks = np.asarray(bank, np.int64)
    if spikes.ndim != 5 or banks.shape != spikes.shape[2:3] or spikes.shape[2] != node.weight.shape[1]:
        raise ValueError(
            f"node {node.name!r}: {banks.shape} banks and spikes {spikes.shape} for {node.weight.shape[1]} channels;"
            " give spikes [N, T, C, H, W] and one bank a channel"
        )
    words = np.ascontiguousarray(spikes.transpose(0, 1, 3, 4, 2))  # channels innermost, as the golden model has them
    count = int(banks.max(initial=0)) + 1
    kernel = Kernel.of(node)
    fullest: np.ndarray = _fullest(words, banks, count, kernel.size, kernel.stride, kernel.padding)
    return fullest


def walked_events(
    spikes: np.ndarray, node: Weighted, places: Sequence[int], simd: int, group: Group = SYNAPSE
) -> np.ndarray:
    """`window_events` of a stage whose channels have these places (-1: not walked) and share look-ups in groups, dealt
    in turn to `simd` banks."""
    if group == SYNAPSE:
        return window_events(spikes, node, [p % simd if p >= 0 else -1 for p in places])
    found = groups.events(spikes, node, places, group)
    words = np.ascontiguousarray(found.transpose(0, 1, 3, 4, 2))
    kernel, banks = Kernel.of(node, group), np.arange(found.shape[2], dtype=np.int64) % simd
    fullest: np.ndarray = _fullest(words, banks, simd, kernel.size, kernel.stride, kernel.padding)
    return fullest


@compiled.cached()
def _fullest(
    words: np.ndarray,
    bank: np.ndarray,
    banks: int,
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> np.ndarray:
    images, steps, height, width, channels = words.shape
    out_h = (height + 2 * padding[0] - size[0]) // stride[0] + 1
    out_w = (width + 2 * padding[1] - size[1]) // stride[1] + 1
    out = np.empty((images, out_h, out_w, steps), np.int32)
    column = np.empty((width, banks), np.int32)  # events of the window row's pixels, column by column
    events = np.empty(banks, np.int32)
    for i in range(images):
        for t in range(steps):
            for oy in range(out_h):
                top = oy * stride[0] - padding[0]
                column[:] = 0
                for y in range(max(0, top), min(height, top + size[0])):
                    for x in range(width):
                        for c in range(channels):
                            if words[i, t, y, x, c] != 0 and bank[c] >= 0:
                                column[x, bank[c]] += 1
                for ox in range(out_w):
                    left = ox * stride[1] - padding[1]
                    events[:] = 0
                    for x in range(max(0, left), min(width, left + size[1])):
                        for b in range(banks):
                            events[b] += column[x, b]
                    out[i, oy, ox, t] = events.max()
    return out


def reads(graph: Graph, images: np.ndarray, lengths: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """What each Conv and the read-out sees, [N, T, C, H, W] by its name (the pixels as [N, 1, C, H, W]); of recordings
    each frame by itself, [frames, 1, C, H, W], as the hardware has them.

    Args:
        images: uint8 [N, C, H, W]; of a graph of frames recordings, [N, T, C, H, W].
        lengths: their frames; None: all.
    """
    spikes = execute(graph, images, trace=True, lengths=lengths)[1]
    spikes[IMAGE] = graph.seen(images) if graph.frames else graph.seen(images)[:, None]
    seen = {node.name: spikes[graph.sources[node.name][0]] for node, _ in graph.weighted}
    if not graph.frames:
        return seen
    steps = images.shape[1]
    there = np.arange(steps) < np.full(len(images), steps if lengths is None else lengths)[:, None]
    return {name: frames[there][:, None] for name, frames in seen.items()}


def channel_events(spikes: np.ndarray, node: Weighted, most: int = 2048, positions: int = 1) -> np.ndarray:
    """Where the channels have events in up to `most` windows, evenly drawn: what a deal to banks is judged by.

    Args:
        spikes: [N, T, C, H, W], what the node reads.
        positions: of the kernel that are looked at as one, 1 or a row.

    Returns:
        bool [windows, positions that are left, C].
    """
    kernel = Kernel.of(node)
    padded = np.pad(spikes != 0, ((0, 0), (0, 0), (0, 0), *((pad, pad) for pad in kernel.padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.size, (3, 4))[
        ..., :: kernel.stride[0], :: kernel.stride[1], :, :
    ]
    images, steps, _, height, width = windows.shape[:5]
    chosen = np.linspace(0, images * steps * height * width - 1, most).astype(int)
    i, t, y, x = np.unravel_index(np.unique(chosen), (images, steps, height, width))
    drawn: np.ndarray = windows[i, t, :, y, x]
    found: np.ndarray = np.any(drawn, axis=3) if positions > 1 else drawn.reshape(*drawn.shape[:2], -1)
    return found.transpose(0, 2, 1)


def law(
    graph: Graph,
    node: Weighted,
    windows: np.ndarray,
    pe: int,
    simd: int,
    rounds: int = 1,
    group: Group = SYNAPSE,
) -> np.ndarray:
    """Cycles each image costs the event stage of a node, as `law_events` and `law_words` have it, int64 [N].

    Args:
        windows: of its banks, from `walked_events`.
    """
    if isinstance(node, Readout):
        return law_words(windows, len(node.weight))
    folds, edge = ceil_div(graph.outputs(node), pe), graph.read(node)[0]
    words = words_of(graph, node, edge, folds, simd, "event", group)
    return law_events(windows, folds, graph.time_steps, rounds, words)


def law_events(
    windows: np.ndarray, folds: int, time_steps: int, rounds: int = 1, words: Words | None = None
) -> np.ndarray:
    """Cycles each image costs an event stage that is fed without gaps and drained without stalls, int64 [N].

    Args:
        windows: [N, OH, OW, T], from `window_events`; its T is 1 in the first layer.
        folds: output folds, each walks the window's events again.
        time_steps: of the network. Where a first layer has more than one, its currents go through the repeater
            (see `hw.serving.repeated`), and the first image is the one that meets it empty.
        rounds: in which the neurons serve the sums of a fold.
        words: of a first layer whose spikes come all at once, without repeater and rounds.
    """
    steps = np.maximum(windows, 1).reshape(len(windows), -1).astype(np.int64)
    if words and words.wait(1):
        return np.diff(told(steps, words), prepend=0)
    if not words and windows.shape[3] != time_steps:
        return np.diff(repeated(steps, folds, time_steps, rounds), prepend=0)
    if not words and rounds > 1:
        return np.diff(served(steps.repeat(folds, 1), rounds), prepend=0)
    flowing: np.ndarray = folds * steps.sum(1)
    return flowing


def law_words(words: np.ndarray, classes: int) -> np.ndarray:
    """Cycles each image costs a read-out that walks events, fed without gaps and drained without stalls, int64 [N].

    A word without events is dropped, but for the last of an image, which takes a cycle. Words come in one a cycle,
    and one is looked ahead for: so a word takes as many cycles as the fullest bank has events, or one more than words
    are dropped behind it. Where an image takes less than classes + 2, the arg-max of the one before holds it back, and
    the cycles are a bound from below.

    Args:
        words: [N, H, W, T], from `window_events`.
    """
    steps = words.reshape(len(words), -1).astype(np.int64)
    steps[:, -1] = np.maximum(steps[:, -1], 1)
    image, place = np.nonzero(steps)
    n = steps[image, place]
    between = np.diff(image * steps.shape[1] + place, append=steps.size)  # to the next word that is walked
    begun = np.cumsum(np.maximum(n, between)) - np.maximum(n, between)
    ends = (begun + n)[place == steps.shape[1] - 1]
    cycles: np.ndarray = np.maximum(np.diff(ends, prepend=0), classes + 2)
    return cycles
