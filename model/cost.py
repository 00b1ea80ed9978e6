"""What the channels of a network cost the hardware, as data: pruning reads it and knows no circuit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class ListStage:
    """A weighted layer that walks every kept synapse: its cycles depend on the counts of channels alone."""

    cycles: np.ndarray  # [Ci + 1, Co + 1], an image, with so many channels kept at the input and at the output

    def __call__(self, read: np.ndarray, written: np.ndarray, rates: np.ndarray | None) -> float:
        return float(self.cycles[read.sum(), written.sum()])


@dataclass(frozen=True)
class EventStage:
    """A weighted layer that walks spikes: its cycles are the spikes of the channels it reads times its folds."""

    pe: int
    simd: int
    windows: int  # an image, over all time steps; one without spikes costs a cycle a fold
    reach: float  # synapse steps of a channel that always spikes, an image, all windows and kernel positions
    arriving: int  # words of an image, which come in at one a cycle
    rounds: int = 1  # cycles that the sums of a window's fold take in the neurons, whatever it spikes

    def __call__(self, read: np.ndarray, written: np.ndarray, rates: np.ndarray | None) -> float:
        if rates is None:
            raise ValueError("an event stage costs what its input spikes: give the rates")
        steps = float(rates[read].sum()) * self.reach / self.simd
        return max(-(-int(written.sum()) // self.pe) * max(self.windows * self.rounds, steps), self.arriving)


@dataclass(frozen=True)
class CycleModel:
    """Cycles of the accelerator by the masks of a network's layers.

    One stage a spiking layer, and one a convolution of a shortcut, in the order of the graph, then the read-out.
    `dense`: the cycles of each stage of the dense network's list design, by which budgets are told.
    """

    stages: tuple[ListStage | EventStage, ...]
    inputs: int  # channels of the image
    classes: int
    dense: tuple[float, ...]
    ends: tuple[tuple[int, int], ...] = ()  # of each stage, the layers it reads and writes; none: those of a chain

    def __call__(self, masks: Sequence[np.ndarray], rates: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """Cycles an image of each stage, float64 [stages].

        Args:
            masks: per spiking layer, bool [C].
            rates: per spiking layer, spikes a pixel and time step behind the pool [C]; event stages ask for them.
        """
        edges = [*masks, np.ones(self.classes, dtype=bool), np.ones(self.inputs, dtype=bool)]  # the image is layer -1
        heard = [*(rates if rates is not None else [None] * len(masks)), None, None]
        ends = self.ends or tuple((i - 1, i) for i in range(len(masks) + 1))
        return np.array([
            stage(edges[read], edges[written], heard[read])
            for stage, (read, written) in zip(self.stages, ends, strict=True)
        ])


@dataclass(frozen=True)
class Budget:
    """What a mask may cost, as a part of the dense network: channels, or cycles of all stages or of the slowest."""

    model: CycleModel | None  # None: channels count
    objective: Literal["sum", "bottleneck"] = "sum"

    def part(self, masks: Sequence[np.ndarray], rates: Sequence[np.ndarray] | None = None) -> float:
        """What the masks cost, of what the dense network does."""
        if self.model is None:
            return sum(int(m.sum()) for m in masks) / sum(m.size for m in masks)
        stages, dense = self.model(masks, rates), self.model.dense
        return float(stages.sum() / sum(dense) if self.objective == "sum" else stages.max() / max(dense))

    def weight(self, masks: Sequence[np.ndarray], rates: Sequence[np.ndarray] | None = None) -> float:
        """As `part`, but falling with every stage: near the bottleneck's the most, so that equals take turns."""
        if self.model is None or self.objective == "sum":
            return self.part(masks, rates)
        parts = self.model(masks, rates) / max(self.model.dense)
        return float((parts**8).sum() ** (1 / 8))
