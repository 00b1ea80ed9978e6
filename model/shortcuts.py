"""Which layers the shortcuts of a description join, and how: told from its shapes alone, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaflow.model.config import NetworkConfig

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Shortcuts:
    joined: Mapping[int, int]  # a layer -> the layer whose current its shortcut adds as it is
    strides: Mapping[int, int]  # a layer -> the stride of the 1x1 convolution that its shortcut is instead

    def groups(self, layers: int) -> tuple[tuple[int, ...], ...]:
        """Layers whose channels belong together, because a shortcut adds the current of one to that of another."""
        groups: dict[int, list[int]] = {}  # by the first layer
        first: dict[int, int] = {}
        for i in range(layers):
            first[i] = first[self.joined[i]] if i in self.joined else i
            groups.setdefault(first[i], []).append(i)
        return tuple(tuple(group) for group in groups.values())

    def trunks(self, layers: int) -> set[int]:
        """The layers whose currents are joined with others."""
        led_to = {*self.joined, *self.strides}
        return {i for group in self.groups(layers) if led_to.intersection(group) for i in group}


def shortcuts(cfg: NetworkConfig) -> Shortcuts:
    """Of a description; what of it breaks a rule is passed over."""
    joined: dict[int, int] = {}
    strides: dict[int, int] = {}
    currents: list[Shape] = []
    pooled: list[tuple[int, int]] = []
    _, height, width = cfg.input_shape
    for i, layer in enumerate(cfg.layers):
        if layer.kind == "linear":
            height = width = 1
        else:
            height, width = (
                (extent + 2 * layer.padding - layer.kernel) // layer.stride + 1 for extent in (height, width)
            )
        currents.append((layer.channels, height, width))
        source = i + (layer.shortcut or 0)
        if 0 <= source < i:
            if currents[source] == currents[i]:
                joined[i] = source
            else:
                strides[i] = shortcut_stride(pooled[source], (height, width)) or 1
        height, width = height // layer.pool, width // layer.pool
        pooled.append((height, width))
    return Shortcuts(joined, strides)


def shortcut_stride(source: tuple[int, int], current: tuple[int, int]) -> int | None:
    """Stride of the 1x1 convolution that takes spikes of the map `source` to `current`; None: there is none."""
    stride = -(-source[0] // max(1, current[0]))
    fits = all((extent - 1) // stride + 1 == wanted for extent, wanted in zip(source, current, strict=True))
    return stride if fits else None


def shortcut_problems(
    where: str, shortcut: int | None, maps: Sequence[Shape], pooled: Sequence[tuple[int, int]]
) -> list[str]:
    """Of the last of the layers whose currents have the shapes `maps`, [C, H, W]."""
    if shortcut is None:
        return []
    if len(maps) - 1 + shortcut < 0:
        return [f"{where}: shortcut={shortcut} points before the first layer; there are {len(maps) - 1} before it"]
    source = maps[shortcut - 1]
    if source == maps[-1] or shortcut_stride(pooled[shortcut], maps[-1][1:]):
        return []
    return [
        f"{where}: shortcut={shortcut}: no stride takes its map {list(pooled[shortcut])} to this layer's "
        f"{list(maps[-1][1:])}; change strides, padding or pools between them"
    ]
