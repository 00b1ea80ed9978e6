"""What each bank of an event stage holds of each window, from the activity: all that its times depend on."""

from __future__ import annotations

import numpy as np

from scaflow.hw import compiled
from scaflow.hw.groups import Kernel
from scaflow.hw.timing import lanes
from scaflow.hw.timing.lanes import Array, get, put, where
from scaflow.hw.timing.records import WORDS, jit

_LANE = 8  # channels counted at once: a byte each of a 64-bit word
_ONES = np.uint64(0x0101010101010101)
Span = tuple[int, int]  # of rows or columns: the first, and the first behind; or a number of each


def walk_size(banks: int, shared_by: int) -> int:
    """Numbers a window."""
    return WORDS * banks if shared_by == 1 else 2


def bank_walks(
    spikes: np.ndarray, kernel: Kernel, bank: tuple[int, ...], banks: int, shared_by: int
) -> np.ndarray:
    """Where each bank has a reader: its events up to a window's last word with one, and up to the last but one, two and
    three. Where a reader is `shared_by` several: the most events of a bank, and the most words of a reader.

    Args:
        spikes: uint8 [L, N, T, C, H, W], what the node reads in each of L runs: 0 or 1, or pixels; or where its groups
            are not silent (`hw.groups.events`), C of them.
        bank: of each channel, -1 for a channel that is not walked.

    Returns:
        `lanes.array` of int16, [N * OH * OW * T * walk_size] x L: a bank without events walks one, words that are not
        there hold none, and a reader without words takes the time of one.
    """
    words = spikes.transpose(0, 1, 2, 4, 5, 3)  # channels innermost, as the golden model has them
    short = -words.shape[-1] % _LANE
    if words.max(initial=0) > 1:
        words = (words != 0).view(np.uint8)
    if short:
        words = np.concatenate([words, np.zeros((*words.shape[:-1], short), np.uint8)], -1)
    words = np.ascontiguousarray(words).view(np.uint64)
    chosen = np.array([[b == of for of in (*bank, *[-1] * short)] for b in range(banks)], np.uint8)
    out_h, out_w = (
        (size + 2 * padding - of) // stride + 1
        for size, of, stride, padding in zip(words.shape[3:5], kernel.size, kernel.stride, kernel.padding, strict=True)
    )
    runs, images, steps = words.shape[:3]
    events = lanes.array(banks * words.shape[3] * words.shape[4], runs, np.int16)
    out = lanes.array(images * out_h * out_w * steps * walk_size(banks, shared_by), runs, np.int16)
    held = words, chosen.view(np.uint64), events, events["lanes"], out
    _walks(*held, kernel.size, kernel.stride, kernel.padding, shared_by)
    return out


def word_walks(spikes: np.ndarray, bank: tuple[int, ...], banks: int) -> np.ndarray:
    """Steps of each word of a read-out that walks events: the most events of a bank, 0 where it is dropped.

    Args:
        spikes, bank: as in `bank_walks`.

    Returns:
        `lanes.array` of int16, [N * H * W * T] x L.
    """
    dealt = np.array([[b == of for of in bank] for b in range(banks)], np.int16)
    steps = np.zeros((*spikes.shape[:3], *spikes.shape[4:]), np.int16)
    for channels in dealt:
        np.maximum(steps, np.tensordot(spikes, channels, (3, 0)), out=steps)
    words = steps.transpose(1, 3, 4, 2, 0).reshape(spikes.shape[1], -1, len(spikes))
    out = lanes.array(words[..., 0].size, len(spikes), np.int16)
    out["lanes"] = words.reshape(-1, len(spikes))
    last = out["lanes"].reshape(words.shape)[:, -1]
    np.maximum(last, 1, out=last)
    return out


@compiled.cached(_nrt=False)
def _walks(
    words: Array,
    chosen: Array,
    events: Array,
    counted: Array,
    out: Array,
    size: Span,
    stride: Span,
    padding: Span,
    shared_by: int,
) -> None:
    runs, images, steps, height, width, parts = words.shape
    banks = len(chosen)
    out_h = (height + 2 * padding[0] - size[0]) // stride[0] + 1
    out_w = (width + 2 * padding[1] - size[1]) // stride[1] + 1
    for i in range(images):
        for t in range(steps):
            for lane in range(runs):
                for b in range(banks):
                    for y in range(height):
                        for x in range(width):
                            found = np.uint64(0)
                            for part in range(parts):
                                found += ((words[lane, i, t, y, x, part] & chosen[b, part]) * _ONES) >> np.uint64(56)
                            counted[(b * height + y) * width + x, lane] = found
            for oy in range(out_h):
                top = oy * stride[0] - padding[0]
                rows = max(0, top), min(height, top + size[0])
                for ox in range(out_w):
                    left = ox * stride[1] - padding[1]
                    columns = max(0, left), min(width, left + size[1])
                    window = ((i * out_h + oy) * out_w + ox) * steps + t
                    if shared_by == 1:
                        _own(events, height, width, rows, columns, banks, out, WORDS * banks * window)
                    else:
                        _shared(events, height, width, rows, columns, banks, shared_by, out, 2 * window)


@jit
def _own(events: Array, height: int, width: int, rows: Span, columns: Span, banks: int, out: Array, place: int) -> None:
    for b in range(banks):
        last = second = third = fourth = get(events, 0) - get(events, 0)
        for y in range(*rows):
            for x in range(*columns):
                found = get(events, (b * height + y) * width + x)
                fourth = where(found > 0, third, fourth)
                third = where(found > 0, second, third)
                second = where(found > 0, last, second)
                last += found
        put(out, place + WORDS * b, max(last, 1))
        put(out, place + WORDS * b + 1, second)
        put(out, place + WORDS * b + 2, third)
        put(out, place + WORDS * b + 3, fourth)


@jit
def _shared(
    events: Array,
    height: int,
    width: int,
    rows: Span,
    columns: Span,
    banks: int,
    shared_by: int,
    out: Array,
    place: int,
) -> None:
    nothing = get(events, 0) - get(events, 0)
    fullest = longest = nothing + 1
    for b in range(banks):
        inside = nothing
        for y in range(*rows):
            for x in range(*columns):
                inside += get(events, (b * height + y) * width + x)
        fullest = max(fullest, inside)
    for first in range(0, banks, shared_by):
        read = nothing
        for y in range(*rows):
            for x in range(*columns):
                some = nothing
                for b in range(first, min(first + shared_by, banks)):
                    some += get(events, (b * height + y) * width + x)
                read += where(some > 0, 1, 0)
        longest = max(longest, read)
    put(out, place, fullest)
    put(out, place + 1, longest)
