"""N-MNIST and N-Caltech101: the .bin files of Orchard et al. 2015, five bytes an event.

    byte 0: x    byte 1: y    byte 2: polarity in bit 7, and with bytes 3 and 4 a time of 23 bits in microseconds
"""

from __future__ import annotations

import numpy as np

from scaflow.model.events.recording import Recording, checked, whole_records

SENSOR = (34, 34)  # of N-MNIST
OVERFLOW, STEP = 240, 1 << 13  # an event in this row is none: times from here on are so much later


def read_bin(content: bytes, where: str, sensor: tuple[int, int] | None = None) -> Recording:
    """
    Raises:
        ValueError: truncated, or not in order, or not on the sensor (N-MNIST's, unless another is given).
    """
    count = whole_records(content, 0, 5, where)
    bytes_ = np.frombuffer(content, np.uint8).reshape(count, 5).astype(np.int64)
    x, y = bytes_[:, 0], bytes_[:, 1]
    mark = y == OVERFLOW
    t = ((bytes_[:, 2] & 0x7F) << 16 | bytes_[:, 3] << 8 | bytes_[:, 4]) + STEP * np.cumsum(mark)
    at = np.flatnonzero(~mark)
    return checked(where, t[at], x[at], y[at], bytes_[at, 2] >> 7, sensor or SENSOR, 5 * at)


def write_bin(recording: Recording) -> bytes:
    """The file of a recording whose sensor and times fit it.

    Raises:
        ValueError: they do not.
    """
    t = recording.t
    if recording.width > 256 or recording.height > OVERFLOW or (len(t) and not 0 <= t[0] <= t[-1] < 1 << 23):
        raise ValueError(
            f"a recording of {recording.width} x {recording.height}, until {int(t[-1]) if len(t) else 0:,} us, does "
            f"not fit a .bin of 256 x {OVERFLOW} and {(1 << 23) - 1:,} us; write it as .npz"
        )
    fields = recording.x, recording.y, recording.p.astype(np.int64) << 7 | t >> 16, t >> 8, t
    return np.stack([np.asarray(f, np.int64) & 0xFF for f in fields], axis=1).astype(np.uint8).tobytes()
