"""Golden twin of hw/rtl/spike_pack.sv: folds of spikes gathered into a word of all channels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpikePack:
    pe: int  # spikes of an input beat
    folds: int  # input beats of a word
    channels: int  # bits of a word; beyond folds*pe they are 0


def spike_pack(cfg: SpikePack, beats: list[int]) -> list[int]:
    words = []
    for start in range(0, len(beats) - cfg.folds + 1, cfg.folds):
        spikes = [beats[start + f] >> lane & 1 for f in range(cfg.folds) for lane in range(cfg.pe)]
        words.append(sum(spike << c for c, spike in enumerate(spikes[: cfg.channels])))
    return words
