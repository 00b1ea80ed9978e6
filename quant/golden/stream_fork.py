"""Golden twin of hw/rtl/stream_fork.sv: one stream, several readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class StreamFork:
    inputs: ClassVar[tuple[str, ...]] = ("in",)
    width: int  # bits of a beat
    outs: int  # readers

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(f"out[{i}]" for i in range(self.outs))


def stream_fork(cfg: StreamFork, streams: list[list[int]]) -> list[list[int]]:
    """streams: the beats that come in. Returns those of each reader."""
    return [list(streams[0]) for _ in range(cfg.outs)]
