"""A recording of an event camera, and the one form in which a file that holds none is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST = 1 << 14  # columns and rows that the word of hw/rtl/axis_events.sv can tell


@dataclass(frozen=True, eq=False)
class Recording:
    """Events in the order in which they came; times do not decrease, and addresses lie on the sensor.

    t: microseconds, int64; x, y: column and row from the upper left, uint16; p: 1 brighter (ON), 0 darker (OFF), uint8.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.t)

    @property
    def duration(self) -> int:
        """Microseconds from the first event to the last."""
        return int(self.t[-1] - self.t[0]) if len(self.t) else 0

    def between(self, start: int, stop: int) -> Recording:
        """The events of start <= t < stop."""
        part = slice(*np.searchsorted(self.t, (start, stop)))
        return Recording(self.t[part], self.x[part], self.y[part], self.p[part], self.width, self.height)


def refused(where: str, offset: int | None, value: str, rule: str, remedy: str) -> ValueError:
    """What is said of a file that is no recording: the file, the byte, what stands there, the rule, what to do."""
    place = where if offset is None else f"{where}: byte {offset:,}"
    return ValueError(f"{place}: {value}, but {rule}; {remedy}")


def checked(
    where: str,
    t: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    p: np.ndarray,
    sensor: tuple[int, int] | None,
    offsets: np.ndarray | None = None,
) -> Recording:
    """The recording of these events.

    Args:
        sensor: columns and rows; None: as many as the events reach.
        offsets: where in the file each event stands, for what is said of it; None: not known, as in a packed file.

    Raises:
        ValueError: a time before that of the event before, or an address that is not on the sensor.
    """
    t, x, y = (np.asarray(values, np.int64) for values in (t, x, y))
    reach = [int(values.max(initial=0)) + 1 for values in (x, y)]
    width, height = sensor or reach
    beyond = np.flatnonzero((x < 0) | (x >= width) | (y < 0) | (y >= height))
    if sensor is None and max(reach) > LARGEST:
        beyond, width, height = np.flatnonzero((x >= LARGEST) | (y >= LARGEST)), LARGEST, LARGEST
    if beyond.size:
        i = int(beyond[0])
        raise refused(
            where, _place(offsets, i), f"event {i:,} has the address x={x[i]}, y={y[i]}",
            f"the sensor has {width} columns and {height} rows", "give the sensor's size, or restore the file",
        )  # fmt: skip
    back = np.flatnonzero(np.diff(t) < 0)
    if back.size:
        i = int(back[0]) + 1
        raise refused(
            where, _place(offsets, i), f"event {i:,} has the time {t[i]:,} us behind {t[i - 1]:,} us",
            "times do not decrease", "restore the file, or sort its events by time",
        )  # fmt: skip
    return Recording(t, x.astype(np.uint16), y.astype(np.uint16), np.asarray(p, np.uint8), width, height)


def _place(offsets: np.ndarray | None, event: int) -> int | None:
    return None if offsets is None else int(offsets[event])


def whole_records(content: bytes, start: int, size: int, where: str) -> int:
    """How many records of so many bytes follow from `start` to the end.

    Raises:
        ValueError: the last one is not whole.
    """
    count, rest = divmod(len(content) - start, size)
    if rest:
        raise refused(
            where, start + count * size, f"the file ends {rest} byte(s) into record {count:,}",
            f"a record has {size} bytes", "it is truncated, or of another format; restore it",
        )  # fmt: skip
    return count
