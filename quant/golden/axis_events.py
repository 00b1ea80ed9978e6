"""Golden twin of hw/rtl/axis_events.sv: address events counted in bins of time, an event at a time."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.beats import pack

WORD = 64  # bits of an event's beat, tlast above them
T, X, Y, P = 0, 32, 46, 60  # its fields, those of a DAT file's event


@dataclass(frozen=True)
class AxisEvents:
    x0: int  # the part of the sensor that is seen
    y0: int
    width: int
    height: int
    channels: int  # 2: one a polarity; 1: both in one
    bits: int  # of a count
    bin: int  # time of a bin
    time_bits: int  # of a time stamp, the lowest
    from_first: int = 1  # a recording's bins start at its first event; 0: at time 0

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class Counted:
    """What the module has done: its output beats, and its two further outputs."""

    beats: list[int]
    dropped: int
    time_error: bool


def event_word(t: int, x: int, y: int, p: int, last: bool = False) -> int:
    """The beat of an event, with tlast."""
    return t & 0xFFFFFFFF | x << X | y << Y | p << P | int(last) << WORD


def axis_events(cfg: AxisEvents, beats: list[int]) -> list[int]:
    """beats: events with tlast above them. Returns pixels of frames, in each last and end above the counts."""
    return counted(cfg, beats).beats


def counted(cfg: AxisEvents, beats: list[int]) -> Counted:
    out: list[int] = []
    dropped, early = 0, False
    frame: dict[tuple[int, int], list[int]] = {}
    end: int | None = None if cfg.from_first else cfg.bin  # of the bin that fills
    for beat in beats:
        t, x, y, p = (beat >> at & mask for at, mask in ((T, 0xFFFFFFFF), (X, 0x3FFF), (Y, 0x3FFF), (P, 1)))
        if end is None:
            end = t + cfg.bin
        while (since := _signed(t - end, cfg.time_bits)) >= 0:
            out += _raster(cfg, frame, False)
            frame = {}
            end += cfg.bin
        early |= _signed(since + cfg.bin, cfg.time_bits) < 0
        place = (x - cfg.x0, y - cfg.y0)
        if 0 <= place[0] < cfg.width and 0 <= place[1] < cfg.height:
            counts = frame.setdefault(place, [0] * cfg.channels)
            channel = p if cfg.channels == 2 else 0
            counts[channel] = min(counts[channel] + 1, (1 << cfg.bits) - 1)
        else:
            dropped += 1
        if beat >> WORD:
            out += _raster(cfg, frame, True)
            frame, end = {}, None if cfg.from_first else cfg.bin
    return Counted(out, dropped, early)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


def _raster(cfg: AxisEvents, frame: dict[tuple[int, int], list[int]], end: bool) -> list[int]:
    silent = [0] * cfg.channels
    places = ((x, y) for y in range(cfg.height) for x in range(cfg.width))
    words = [pack(frame.get(place, silent), cfg.bits) for place in places]
    words[-1] |= (1 | end << 1) << cfg.channels * cfg.bits
    return words
