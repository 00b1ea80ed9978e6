"""Golden twin of hw/rtl/lif_pe.sv, computed from whole windows and not from the twins of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaflow.quant.golden.beats import ceil_div, pack, unpack
from scaflow.quant.golden.lif_update import OPTIONAL, ZERO, remains
from scaflow.quant.golden.mac_array import addr_bits, cut, part_bits


@dataclass(frozen=True)
class LifPe:
    pe: int
    neurons: int  # of the PE sums of a result, served a cycle
    simd: int
    in_bits: int
    lookup: int  # 1 and more: activations are patterns that pick a word, as in mac_array
    places: int
    depth: int
    folds: int
    time_steps: int
    direct: int  # 1: a pixel comes once, its current is fed to all time steps
    weight_bits: int
    acc_bits: int
    v_bits: int
    fraction_bits: int
    leak_shift: int
    soft_reset: int
    weights: np.ndarray = field(metadata={"bits": "weight_bits", "cut": cut})  # [simd, depth, pe]
    bias: np.ndarray = field(metadata={"bits": "v_bits"})  # [folds * rounds, neurons]
    threshold: np.ndarray = field(metadata={"bits": "v_bits"})  # the same; neurons beyond PE stand for no sum
    decay_factor: int = field(default=1, metadata=OPTIONAL)
    decay_shift: int = field(default=0, metadata=OPTIONAL)
    # the same; ZERO: a hard reset is to 0
    v_reset: np.ndarray = field(default_factory=lambda: ZERO, metadata={"bits": "v_bits", **OPTIONAL})
    map_pixels: int = field(default=0, metadata=OPTIONAL)  # more: frames of so many pixels, and an end of recordings

    @property
    def addr_bits(self) -> int:
        return addr_bits(self)

    @property
    def rounds(self) -> int:
        return ceil_div(self.pe, self.neurons)

    def of_folds(self, levels: np.ndarray) -> np.ndarray:
        """Biases or thresholds as [folds, pe]."""
        return levels.reshape(self.folds, -1)[:, : self.pe]


def lif_pe(cfg: LifPe, beats: list[int]) -> list[int]:
    """beats: (SIMD act, SIMD addr, last), each window once a fold. Returns PE spikes in order pixel, t, fold.

    Of frames, with `ends` above last: in order t, pixel, fold.
    """
    if cfg.map_pixels:
        return _frames(cfg, beats)
    repeats = cfg.time_steps if cfg.direct else 1
    currents = window_sums(cfg, beats).reshape(-1, 1, cfg.folds, cfg.pe).repeat(repeats, axis=1)
    steps = currents.reshape(-1, cfg.time_steps, cfg.folds, cfg.pe)
    bias, threshold = cfg.of_folds(cfg.bias), cfg.of_folds(cfg.threshold)
    v_reset = cfg.of_folds(cfg.v_reset) if cfg.v_reset.size else 0
    out = []
    for pixel in steps:
        left = np.zeros((cfg.folds, cfg.pe), dtype=np.int64)
        for current in pixel:
            u = left + (current << cfg.fraction_bits) + bias
            spikes = u >= threshold
            left = remains(cfg, u, spikes, threshold, v_reset)
            out += [pack(row, 1) for row in spikes]
    return out


def _frames(cfg: LifPe, beats: list[int]) -> list[int]:
    end_bit = cfg.simd * (cfg.in_bits + cfg.addr_bits)
    ends = [beat >> end_bit + 1 for beat in beats if beat >> end_bit & 1]
    words = cfg.map_pixels * cfg.folds
    currents = window_sums(cfg, [beat & (2 << end_bit) - 1 for beat in beats]) << cfg.fraction_bits
    bias, threshold = (np.tile(cfg.of_folds(levels), (cfg.map_pixels, 1)) for levels in (cfg.bias, cfg.threshold))
    v_reset = np.tile(cfg.of_folds(cfg.v_reset), (cfg.map_pixels, 1)) if cfg.v_reset.size else np.zeros_like(bias)
    out: list[int] = []
    left = np.zeros_like(bias)
    for start in range(0, len(currents), words):
        here = slice(0, len(currents[start : start + words]))  # the last frame may be cut off
        u = left[here] + currents[start : start + words] + bias[here]
        spikes = u >= threshold[here]
        out += [pack(row, 1) for row in spikes]
        if here.stop == words:
            left = 0 * left if ends[start + words - 1] else remains(cfg, u, spikes, threshold, v_reset)
    return out


def window_sums(cfg: Any, beats: list[int]) -> np.ndarray:
    """The sums of mac_array, whose fields `cfg` has, window by window: int64 [windows, pe]."""
    lanes, act_bits = np.arange(cfg.simd), cfg.simd * cfg.in_bits
    end_bit = act_bits + cfg.simd * cfg.addr_bits
    acts = np.array([unpack(beat, cfg.in_bits, cfg.simd) for beat in beats], dtype=np.int64)
    addrs = np.array([unpack(beat >> act_bits, cfg.addr_bits, cfg.simd) for beat in beats])
    if cfg.lookup:
        # the word of each pattern is a sum over its bits; a part of the bits is another pattern
        products = sum(
            (cfg.weights[lanes, addrs << pattern | part].astype(np.int64) << shift).sum(1)
            for part, pattern, shift in _parts(cfg, acts)
        )
    else:
        products = (acts[:, :, None] * cfg.weights[lanes, addrs].astype(np.int64)).sum(1)  # [beats, pe]
    ends = [i + 1 for i, beat in enumerate(beats) if beat >> end_bit]
    sums = [products[start:end].sum(0) for start, end in zip([0, *ends], ends, strict=False)]
    return np.array(sums, dtype=np.int64).reshape(-1, cfg.pe)


def _parts(cfg: Any, acts: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    """Of patterns: which of a lane's words each part picks, of how many bits that is, and its lowest bit's place."""
    each, of_number = part_bits(cfg.in_bits, cfg.lookup, cfg.places), cfg.in_bits // cfg.places
    numbers = acts[..., None] >> of_number * np.arange(cfg.places) & (1 << of_number) - 1
    for shift in range(0, each * cfg.lookup, each):
        taken = numbers >> shift & (1 << each) - 1
        yield (taken << each * np.arange(cfg.places)).sum(-1), each * cfg.places, shift
