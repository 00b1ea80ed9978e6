"""Golden twin of hw/rtl/lif_neuron.sv: what its credits and its queue add to lif_update is time alone."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.lif_update import LifUpdate, lif_update


@dataclass(frozen=True)
class LifNeuron(LifUpdate):
    """The same parameters."""


def lif_neuron(cfg: LifNeuron, beats: list[int]) -> list[int]:
    """beats: PE currents in order pixel, t, fold. Returns PE spikes a beat."""
    return lif_update(cfg, beats)
