"""What each bank of an event stage holds of each window, from the activity: all that its times depend on."""

from __future__ import annotations

import numba
import numpy as np

from scaflow.hw.timing import lanes
from scaflow.hw.timing.lanes import get, put, where
from scaflow.hw.timing.records import WORDS
from scaflow.quant.graph import Conv

_LANE = 8  # channels counted at once: a byte each of a 64-bit word
_ONES = np.uint64(0x0101010101010101)


def bank_walks(spikes: np.ndarray, node: Conv, bank: tuple[int, ...], banks: int) -> np.ndarray:
    """Events up to a window's last word with one, and up to the last but one, two and three, of each bank.

    Args:
        spikes: uint8 [L, N, T, C, H, W], what the node reads in each of L runs: 0 or 1, or pixels.
        bank: of each channel, -1 for a channel that is not walked.

    Returns:
        `lanes.array` of int16, [N * OH * OW * T * banks * WORDS] x L: a bank without events walks one, and words that
        are not there hold none.
    """
    words = spikes.transpose(0, 1, 2, 4, 5, 3)  # channels innermost, as the golden model has them
    short = -words.shape[-1] % _LANE
    if words.max(initial=0) > 1:
        words = (words != 0).view(np.uint8)
    if short:
        words = np.concatenate([words, np.zeros((*words.shape[:-1], short), np.uint8)], -1)
    words = np.ascontiguousarray(words).view(np.uint64)
    chosen = np.array([[b == of for of in (*bank, *[-1] * short)] for b in range(banks)], np.uint8)
    out_h = (words.shape[3] + 2 * node.padding - node.kernel[0]) // node.stride + 1
    out_w = (words.shape[4] + 2 * node.padding - node.kernel[1]) // node.stride + 1
    runs, images, steps = words.shape[:3]
    events = lanes.array(banks * words.shape[3] * words.shape[4], runs, np.int16)
    out = lanes.array(images * out_h * out_w * steps * banks * WORDS, runs, np.int16)
    _walks(words, chosen.view(np.uint64), events, events["lanes"], out, *node.kernel, node.stride, node.padding)
    return out


@numba.njit(cache=True, nogil=True, _nrt=False)
def _walks(words, chosen, events, counted, out, kernel_h, kernel_w, stride, padding):
    runs, images, steps, height, width, parts = words.shape
    banks = len(chosen)
    out_h = (height + 2 * padding - kernel_h) // stride + 1
    out_w = (width + 2 * padding - kernel_w) // stride + 1
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
                top = oy * stride - padding
                for ox in range(out_w):
                    left = ox * stride - padding
                    place = (((i * out_h + oy) * out_w + ox) * steps + t) * banks * WORDS
                    for b in range(banks):
                        last = second = third = fourth = get(events, 0) - get(events, 0)
                        for y in range(max(0, top), min(height, top + kernel_h)):
                            for x in range(max(0, left), min(width, left + kernel_w)):
                                found = get(events, (b * height + y) * width + x)
                                fourth = where(found > 0, third, fourth)
                                third = where(found > 0, second, third)
                                second = where(found > 0, last, second)
                                last += found
                        put(out, place + WORDS * b, max(last, 1))
                        put(out, place + WORDS * b + 1, second)
                        put(out, place + WORDS * b + 2, third)
                        put(out, place + WORDS * b + 3, fourth)
