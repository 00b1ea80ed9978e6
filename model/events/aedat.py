"""AEDAT 3.1 (jAER, cAER: the DVS128 Gesture set) and AEDAT 4 (DV) files.

AEDAT 3.1, little-endian: lines with `#` up to `#!END-HEADER`, then packets with a header of 28 bytes. An event of a
sensor (type 1) is two words: y [15] from bit 2, x [15] from bit 17, polarity in bit 1, in bit 0 whether it is valid;
and a time of 31 bits, whose further bits stand in the packet's header. AEDAT 4 is read by the library aedat.
"""

from __future__ import annotations

import csv
import io
import re
import struct
import tempfile
from pathlib import Path

import numpy as np

from scaflow.model.events.recording import Recording, checked, refused

MAGIC3, MAGIC4, END = b"#!AER-DAT3.1", b"#!AER-DAT4.0\r\n", b"#!END-HEADER\r\n"
SENSORS = {b"DVS128": (128, 128), b"DAVIS240": (240, 180), b"DAVIS346": (346, 260)}
HEADER, POLARITY, EVENT = struct.Struct("<hhiiiiii"), 1, 8
LABELS = ["class", "startTime_usec", "endTime_usec"]
RESTORE = "it is truncated or damaged; restore it"


def read_aedat3(content: bytes, where: str, sensor: tuple[int, int] | None = None) -> Recording:
    """
    Raises:
        ValueError: no such file, truncated, or not in order, or not on the sensor.
    """
    if not content.startswith(MAGIC3):
        found = content[:14].decode("latin-1").strip() or "nothing"
        raise refused(where, 0, f"begins with {found!r}", f"a file of AEDAT 3.1 begins with {MAGIC3.decode()}",
                      "convert it to AEDAT 4 or .npz")  # fmt: skip
    at = content.find(END)
    if at < 0:
        raise refused(where, len(content), "the file ends", "its header ends with #!END-HEADER", RESTORE)
    told = re.search(b"|".join(SENSORS), content[:at])
    at += len(END)
    packets, overflows, offsets = [], [], []
    while at < len(content):
        if len(content) < at + HEADER.size:
            raise refused(where, at, f"the file ends {len(content) - at} byte(s) into a packet's header",
                          f"it has {HEADER.size} bytes", RESTORE)  # fmt: skip
        kind, _, size, _, overflow, _, number, valid = HEADER.unpack_from(content, at)
        body = at + HEADER.size
        if size <= 0 or number < 0 or not 0 <= valid <= number or body + size * number > len(content):
            raise refused(where, at, f"a packet of {number} events, {valid} valid, of {size} bytes each",
                          f"the file has {len(content) - body:,} bytes behind its header", RESTORE)  # fmt: skip
        if kind == POLARITY:
            if size != EVENT:
                raise refused(where, at, f"events of a sensor of {size} bytes", f"they have {EVENT}", RESTORE)
            words = np.frombuffer(content, "<u4", 2 * number, body).reshape(-1, 2)
            kept = np.flatnonzero(words[:, 0] & 1)
            if len(kept) != valid:
                raise refused(where, at, f"a packet of {len(kept)} events with bit 0 set",
                              f"its header says that {valid} are valid", RESTORE)  # fmt: skip
            packets.append(words[kept])
            overflows.append(np.full(len(kept), overflow, np.int64))
            offsets.append(body + EVENT * kept)
        at = body + size * number
    words = np.concatenate([np.empty((0, 2), np.uint32), *packets]).astype(np.int64)
    t = np.concatenate([np.empty(0, np.int64), *overflows]) << 31 | words[:, 1] & 0x7FFFFFFF
    data, where_at = words[:, 0], np.concatenate([np.empty(0, np.int64), *offsets])
    size = sensor or (SENSORS[told[0]] if told else None)
    return checked(where, t, data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1, size, where_at)


def read_labels(content: bytes, where: str) -> list[tuple[str, int, int]]:
    """Class, start and end (exclusive) in microseconds of the gestures of a recording, from its `_labels.csv`.

    Raises:
        ValueError: other columns, or a line that is not three whole numbers in order.
    """
    rows = list(csv.reader(io.StringIO(content.decode("utf-8", "replace"))))
    if not rows or [name.strip() for name in rows[0]] != LABELS:
        raise refused(where, 0, f"columns {', '.join(rows[0]) if rows else 'none'}", f"they are {', '.join(LABELS)}",
                      "give the labels as they were published")  # fmt: skip
    found = []
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        try:
            label, start, stop = (int(value) for value in row)
        except ValueError:
            label, start, stop = 0, 1, 0
        if not 0 <= start < stop:
            raise refused(f"{where}: line {line}", None, f"{','.join(row)}", "a line is class, start and a later end",
                          "correct it")  # fmt: skip
        found.append((str(label), start, stop))
    return found


def read_aedat4(content: bytes, where: str, sensor: tuple[int, int] | None = None) -> Recording:
    """The first stream of events of the file.

    Raises:
        ValueError: no such file, truncated, of no events, or not in order, or not on the sensor.
    """
    _whole(content, where)
    import aedat  # only where it is needed: whoever has no such files can do without it

    with tempfile.TemporaryDirectory(prefix="scaflow-events-") as scratch:
        path = Path(scratch) / "recording.aedat4"
        path.write_bytes(content)
        try:
            decoder = aedat.Decoder(path)
            streams = {key: told for key, told in decoder.id_to_stream().items() if told["type"] == "events"}
            stream = min(streams, default=None)
            parts = [packet["events"] for packet in decoder if "events" in packet and packet["stream_id"] == stream]
        except Exception as error:  # of the library, which has none of its own
            raise refused(where, None, f"aedat says {error}", "it must be a whole file of AEDAT 4", RESTORE) from None
    if stream is None:
        raise refused(where, None, "has no stream of events", "there must be one", "record events, or leave it out")
    size = (streams[stream]["width"], streams[stream]["height"])
    if not parts:
        nothing = np.empty(0, np.int64)
        return checked(where, nothing, nothing, nothing, nothing, sensor or size)
    events = np.concatenate(parts)
    return checked(where, events["t"], events["x"], events["y"], events["on"], sensor or size)


def _whole(content: bytes, where: str) -> None:
    """Follow the packets to their end; the library takes what there is of a truncated file."""
    if not content.startswith(MAGIC4):
        found = content[:14].decode("latin-1").strip() or "nothing"
        raise refused(where, 0, f"begins with {found!r}", f"a file of AEDAT 4 begins with {MAGIC4.strip().decode()}",
                      "give its real format")  # fmt: skip
    at = len(MAGIC4)
    try:
        (size,) = struct.unpack_from("<I", content, at)
        table = at + 4 + struct.unpack_from("<I", content, at + 4)[0]  # a flatbuffer: IOHeader
        fields = table - struct.unpack_from("<i", content, table)[0]
        (known,) = struct.unpack_from("<H", content, fields)  # bytes of the list of its fields
        slot = struct.unpack_from("<H", content, fields + 6)[0] if known > 6 else 0
        stop = struct.unpack_from("<q", content, table + slot)[0] if slot else -1  # its field dataTablePosition
        at += 4 + size
        while at != stop and (at < len(content) or at < stop):
            (size,) = struct.unpack_from("<i", content, at + 4)
            if size < 0 or at + 8 + size > len(content):
                raise struct.error
            at += 8 + size
    except struct.error:
        raise refused(where, at, f"the file ends at byte {len(content):,}", "a packet follows that is longer", RESTORE
                      ) from None  # fmt: skip
