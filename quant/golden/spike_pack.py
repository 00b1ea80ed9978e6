"""Golden twin of hw/rtl/spike_pack.sv: folds of spikes gathered into a word of all channels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpikePack:
    pe: int  # spikes of an input beat, of each step
    folds: int  # input beats of a word
    channels: int  # bits of a word, of each step; beyond folds*pe they are 0
    steps: int  # time steps of a beat and of a word, the first lowest


def spike_pack(cfg: SpikePack, beats: list[int]) -> list[int]:
    words = []
    for start in range(0, len(beats) - cfg.folds + 1, cfg.folds):
        word = 0
        for t in range(cfg.steps):
            lanes = range(t * cfg.pe, (t + 1) * cfg.pe)
            spikes = [beats[start + f] >> lane & 1 for f in range(cfg.folds) for lane in lanes]
            word |= sum(spike << t * cfg.channels + c for c, spike in enumerate(spikes[: cfg.channels]))
        words.append(word)
    return words
