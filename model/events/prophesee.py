"""Prophesee's files: DAT, and .raw of EVT 2.0 and EVT 3.0, little-endian behind a header of lines with `%`.

Times of .raw are those of TIME_HIGH (and in EVT 3.0 TIME_LOW): what stands before the first of them has no date and is
left out. TIME_HIGH that decreases has wrapped: after 16.8 s in EVT 3.0, after 4.8 h in EVT 2.0.
"""

from __future__ import annotations

import re

import numpy as np

from scaflow.model.events.recording import Recording, checked, refused, whole_records

CD = (0x00, 0x0C)  # types of events of a DAT file that are of the sensor: version 1, version 2
REMEDY = "convert it to DAT, EVT 2.0, EVT 3.0 or .npz"


def read_dat(content: bytes, where: str, sensor: tuple[int, int] | None = None) -> Recording:
    """Words of 64 bits: time [32], x [14], y [14], polarity [4], the first lowest.

    Raises:
        ValueError: no such file, truncated, or not in order, or not on the sensor.
    """
    lines, start = _header(content, where)
    if len(content) < start + 2:
        raise refused(where, start, "the file ends", "type and size of an event follow the header", "restore it")
    kind, size = content[start], content[start + 1]
    if kind not in CD or size != 8:
        raise refused(
            where, start, f"events are of type {kind:#x} and {size} bytes", "those of a sensor are of type 0xc and 8",
            "give a file of CD events",
        )  # fmt: skip
    start += 2
    words = np.frombuffer(content, "<u4", 2 * whole_records(content, start, 8, where), start).reshape(-1, 2)
    t, rest = words[:, 0].astype(np.int64), words[:, 1].astype(np.int64)
    t += _wraps(t, 32, 31)
    offsets = start + 8 * np.arange(len(t))
    found = sensor or _size(lines)
    return checked(where, t, rest & 0x3FFF, rest >> 14 & 0x3FFF, rest >> 28 & 1, found, offsets)


def read_raw(content: bytes, where: str, sensor: tuple[int, int] | None = None) -> Recording:
    """
    Raises:
        ValueError: neither EVT 2.0 nor EVT 3.0, truncated, or not in order, or not on the sensor.
    """
    lines, start = _header(content, where)
    text = "\n".join(lines)
    told = re.search(r"(?im)^% *(?:evt|format) +(?:EVT)?([\d.]+)", text)
    version = told[1] if told else "unknown"
    if re.search(r"(?im)^% *endianness +big", text):
        raise refused(where, 0, "words are big-endian", "they must be little-endian", REMEDY)
    if version in ("2", "2.0"):
        return _evt2(content, start, where, sensor or _size(lines))
    if version in ("3", "3.0"):
        return _evt3(content, start, where, sensor or _size(lines))
    raise refused(where, 0, f"the header says EVT version {version}", "2.0 and 3.0 are read", REMEDY)


def _header(content: bytes, where: str) -> tuple[list[str], int]:
    """The lines with %, and where the words begin."""
    lines, at = [], 0
    while content[at : at + 1] == b"%":
        end = content.find(b"\n", at)
        if end < 0:
            raise refused(where, at, "the file ends within its header", "a header's lines end", "restore it")
        lines.append(content[at:end].decode("latin-1").strip())
        at = end + 1
        if re.fullmatch(r"% *end", lines[-1]):
            break
    if not lines:
        found = content[:4].hex() or "nothing"
        raise refused(where, 0, f"begins with {found}", "a file of Prophesee's begins with %", "give its real format")
    return lines, at


def _size(lines: list[str]) -> tuple[int, int] | None:
    """Columns and rows, where the header tells them in one of its ways."""
    text = "\n".join(lines)
    if told := re.search(r"(?i)% *geometry +(\d+)x(\d+)", text):
        return int(told[1]), int(told[2])
    width, height = (re.search(rf"(?i)\b{name}[ =]+(\d+)", text) for name in ("width", "height"))
    return (int(width[1]), int(height[1])) if width and height else None


def _wraps(values: np.ndarray, bits: int, least: int = 0) -> np.ndarray:
    """What is to be added to each value of a counter of so many bits, wrapped where it decreases by 2^least."""
    return np.concatenate([[0], np.cumsum(np.diff(values) <= -(1 << least))])[: len(values)] << bits


def _latest(marks: np.ndarray) -> np.ndarray:
    """The index of the last mark at or before each place; -1 before the first."""
    return np.maximum.accumulate(np.where(marks, np.arange(len(marks)), -1), dtype=np.int64)


def _evt2(content: bytes, start: int, where: str, sensor: tuple[int, int] | None) -> Recording:
    count = whole_records(content, start, 4, where)
    words = np.frombuffer(content, "<u4", count, start).astype(np.int64)
    kind = words >> 28
    _known(kind, (0x0, 0x1, 0x8, 0xA, 0xE, 0xF), where, start, 4)
    high = np.zeros(count, np.int64)
    told = kind == 0x8
    values = words[told] & 0xFFFFFFF
    high[told] = values + _wraps(values, 28)
    last = _latest(told)
    at = np.flatnonzero((kind <= 1) & (last >= 0))
    t = high[last[at]] << 6 | words[at] >> 22 & 0x3F
    return checked(where, t, words[at] >> 11 & 0x7FF, words[at] & 0x7FF, kind[at], sensor, start + 4 * at)


def _evt3(content: bytes, start: int, where: str, sensor: tuple[int, int] | None) -> Recording:
    count = whole_records(content, start, 2, where)
    words = np.frombuffer(content, "<u2", count, start).astype(np.int64)
    kind, value = words >> 12, words & 0xFFF
    _known(kind, (0x0, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, 0xA, 0xE, 0xF), where, start, 2)
    # the time of each word: TIME_HIGH, and TIME_LOW where it has come since TIME_HIGH changed
    high, low = kind == 0x8, kind == 0x6
    base = np.zeros(count, np.int64)
    base[high] = value[high] + _wraps(value[high], 12)
    last_high, last_low = _latest(high), _latest(low)
    places = np.flatnonzero(high)
    fresh = places[np.diff(base[places], prepend=-1) != 0]  # where it changed
    change = np.zeros(count, bool)
    change[fresh] = True
    since = last_low > _latest(change)
    t = base[np.maximum(last_high, 0)] << 12 | np.where(since, value[np.maximum(last_low, 0)], 0)
    row, dated = _latest(kind == 0x0), last_high >= 0
    # vectors: a place begins at VECT_BASE_X and moves on by the length of each vector behind it
    length = np.select([kind == 0x4, kind == 0x5], [12, 8], 0)
    moved, base_at = np.cumsum(length) - length, _latest(kind == 0x3)
    at, x, p = [], [], []
    single = np.flatnonzero((kind == 0x2) & dated & (row >= 0))
    at.append(single)
    x.append(value[single] & 0x7FF)
    p.append(value[single] >> 11)
    vector = np.flatnonzero((length > 0) & dated & (row >= 0) & (base_at >= 0))
    origin = base_at[vector]
    begin = (value[origin] & 0x7FF) + moved[vector] - moved[origin]
    bits = (value[vector, None] >> np.arange(12) & 1).astype(bool) & (np.arange(12) < length[vector, None])
    which, bit = np.nonzero(bits)
    at.append(vector[which])
    x.append(begin[which] + bit)
    p.append(value[origin][which] >> 11)
    place = np.concatenate(at)
    order = np.argsort(place, kind="stable")  # the pixels of a vector from the left to the right
    place = place[order]
    columns, polarities = np.concatenate(x)[order], np.concatenate(p)[order]
    return checked(where, t[place], columns, value[row[place]] & 0x7FF, polarities, sensor, start + 2 * place)


def _known(kind: np.ndarray, kinds: tuple[int, ...], where: str, start: int, size: int) -> None:
    unknown = np.flatnonzero(~np.isin(kind, kinds))
    if unknown.size:
        i = int(unknown[0])
        raise refused(
            where, start + size * i, f"word {i:,} is of type {kind[i]:#x}",
            f"types are {', '.join(f'{k:#x}' for k in kinds)}", "it is damaged, or of another version; restore it",
        )  # fmt: skip
