""".npy and .npz of events: fields or columns t, x, y, p, times in microseconds.

.npz: arrays t, x, y, p, or one array as .npy: of named fields, or of columns t, x, y, p. Names may be spelt ts,
timestamp; pol, polarity. A polarity is 1, true: brighter; 0, -1, false: darker.
"""

from __future__ import annotations

import io

import numpy as np

from scaflow.model.events.recording import Recording, checked, refused
from scaflow.model.files import UNREADABLE

SPELLINGS = {"t": ("t", "ts", "timestamp", "timestamps"), "x": ("x",), "y": ("y",), "p": ("p", "pol", "polarity")}
GIVE = "give arrays t, x, y and p, with times in whole microseconds"


def read_arrays(content: bytes, where: str, sensor: tuple[int, int] | None = None) -> Recording:
    """
    Raises:
        ValueError: no such arrays, damaged, or not in order, or not on the sensor.
    """
    try:
        held = np.load(io.BytesIO(content), allow_pickle=False)
        arrays = {"": held} if isinstance(held, np.ndarray) else {name: held[name] for name in held.files}
    except (*UNREADABLE, OSError) as error:
        raise refused(where, None, f"numpy says {error}", "it must be a whole .npy or .npz of numbers", GIVE) from None
    if len(arrays) == 1:
        arrays = _parts(next(iter(arrays.values())), where)
    found = {}
    for name, spellings in SPELLINGS.items():
        there = [arrays[spelling] for spelling in spellings if spelling in arrays]
        if len(there) != 1:
            names = ", ".join(arrays) or "none"
            raise refused(where, None, f"has the arrays {names}", f"{name} must be one of them", GIVE)
        found[name] = _numbers(there[0], name, where)
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length:,} of {name}" for name, length in lengths.items())
        raise refused(where, None, f"holds {told}", "each event has all four", GIVE)
    polarities = found["p"]
    wrong = np.flatnonzero((polarities < -1) | (polarities > 1))
    if wrong.size:
        i = int(wrong[0])
        raise refused(where, None, f"event {i:,} has the polarity {polarities[i]}", "it is 1, 0 or -1", GIVE)
    return checked(where, found["t"], found["x"], found["y"], polarities > 0, sensor)


def write_npz(recording: Recording) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, t=recording.t, x=recording.x, y=recording.y, p=recording.p)
    return packed.getvalue()


def _parts(array: np.ndarray, where: str) -> dict[str, np.ndarray]:
    if array.dtype.names:
        return {name: array[name] for name in array.dtype.names}
    if array.ndim == 2 and array.shape[1] == 4:
        return dict(zip("txyp", array.T, strict=True))
    raise refused(where, None, f"holds an array of shape {array.shape}", "events are rows of t, x, y, p", GIVE)


def _numbers(values: np.ndarray, name: str, where: str) -> np.ndarray:
    """As int64, where nothing is lost by it."""
    if values.ndim == 1 and values.dtype.kind in "biuf":
        with np.errstate(invalid="ignore"):
            whole = values.astype(np.int64)
        wrong = np.flatnonzero(whole != values)
        if not wrong.size:
            return whole
        i = int(wrong[0])
        raise refused(where, None, f"event {i:,} has {name}={values[i]}", "it is a whole number", GIVE)
    raise refused(where, None, f"{name} is of shape {values.shape}, {values.dtype}", "it is a row of numbers", GIVE)
