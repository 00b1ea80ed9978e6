"""Readers of event files, on files written here from the formats' public definitions, word by word."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from scaflow.model.events.arrays import write_npz
from scaflow.model.events.folder import opened_set
from scaflow.model.events.nmnist import write_bin
from scaflow.model.events.reading import recording_of
from scaflow.model.events.recording import Recording

EVENTS = [(5, 3, 1, 0), (5, 4, 1, 1), (4095, 33, 0, 1), (4096, 0, 33, 0), (70_000, 7, 9, 1)]  # t, x, y, p
Event = tuple[int, int, int, int]


def events_of(recording: Recording) -> list[Event]:
    columns = (recording.t, recording.x, recording.y, recording.p)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def nmnist(events: list[Event]) -> bytes:
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in events)


def dat(events: list[Event]) -> bytes:
    words = b"".join(struct.pack("<II", t, p << 28 | y << 14 | x) for t, x, y, p in events)
    return b"% Data file of events\n% Version 2\n% Height 240\n% Width 304\n" + bytes([0x0C, 8]) + words


def evt2(events: list[Event]) -> bytes:
    words, high = [], None
    for t, x, y, p in events:
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high & 0xFFFFFFF)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    return b"% evt 2.0\n% geometry 640x480\n% end\n" + struct.pack(f"<{len(words)}I", *words)


def evt3(words: list[int]) -> bytes:
    return b"% evt 3.0\n% format EVT3;height=720;width=1280\n% end\n" + struct.pack(f"<{len(words)}H", *words)


def evt3_of(events: list[Event]) -> bytes:
    words, time = [], (-1, -1)
    for t, x, y, p in events:
        high, low = t >> 12 & 0xFFF, t & 0xFFF
        words += [0x8000 | high] * (high != time[0]) + [0x6000 | low] + [y, 0x2000 | p << 11 | x]
        time = (high, low)
    return evt3(words)


def aedat3(events: list[Event], overflow: int = 0, valid: int | None = None) -> bytes:
    data = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in events)
    data += struct.pack("<II", 5 << 17 | 5 << 2, events[-1][0])  # bit 0 is not set: not valid
    count = len(events) + 1
    valid = len(events) if valid is None else valid
    header = struct.pack("<hhiiiiii", 1, 1, 8, 4, overflow, count, count, valid)
    other = struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 1, 1, 1) + struct.pack("<II", 1, 0)  # a special event: passed over
    return b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n" + other + header + data


def aedat4(events: list[Event]) -> bytes:
    """Not compressed, without a table of its packets."""
    import flatbuffers

    def sized(builder, root: int, kind: bytes) -> bytes:
        builder.FinishSizePrefixed(root, file_identifier=kind)
        return bytes(builder.Output())

    info = (
        '<dv version="2.0"><node name="outInfo" path="/outInfo/"><node name="0" path="/outInfo/0/">'
        '<attr key="compression" type="string">NONE</attr><attr key="originalModuleName" type="string">c</attr>'
        '<attr key="originalOutputName" type="string">events</attr><attr key="typeDescription" type="string">E</attr>'
        '<attr key="typeIdentifier" type="string">EVTS</attr><node name="info" path="/outInfo/0/info/">'
        '<attr key="sizeX" type="int">34</attr><attr key="sizeY" type="int">34</attr>'
        '<attr key="source" type="string">S</attr></node></node></node></dv>'
    )
    head = flatbuffers.Builder(0)
    text = head.CreateString(info)
    head.StartObject(3)
    head.PrependInt32Slot(0, 0, 1)  # compression: none
    head.PrependInt64Slot(1, -1, 0)  # no table
    head.PrependUOffsetTRelativeSlot(2, text, 0)
    body = flatbuffers.Builder(0)
    body.StartVector(16, len(events), 8)
    for t, x, y, p in reversed(events):
        body.Prep(8, 16)
        body.Pad(3)
        body.PrependBool(bool(p))
        body.PrependInt16(y)
        body.PrependInt16(x)
        body.PrependInt64(t)
    vector = body.EndVector()
    body.StartObject(1)
    body.PrependUOffsetTRelativeSlot(0, vector, 0)
    packet = sized(body, body.EndObject(), b"EVTS")
    return b"#!AER-DAT4.0\r\n" + sized(head, head.EndObject(), b"IOHE") + struct.pack("<ii", 0, len(packet)) + packet


def structured(events: list[Event]) -> bytes:
    packed = io.BytesIO()
    np.save(packed, np.array(events, [("ts", "<u4"), ("x", "<u2"), ("y", "<u2"), ("pol", "?")]))
    return packed.getvalue()


def columns(events: list[Event]) -> bytes:
    packed = io.BytesIO()
    np.save(packed, np.array([(t, x, y, 2 * p - 1) for t, x, y, p in events], np.float64))
    return packed.getvalue()


FILES = {
    "r.bin": (nmnist, (34, 34)),
    "r.dat": (dat, (304, 240)),
    "evt2.raw": (evt2, (640, 480)),
    "evt3.raw": (evt3_of, (1280, 720)),
    "3.aedat": (aedat3, (128, 128)),
    "r.aedat4": (aedat4, (34, 34)),
    "4.aedat": (aedat4, (34, 34)),
    "fields.npy": (structured, (34, 34)),
    "columns.npy": (columns, (34, 34)),
}


@pytest.mark.parametrize("name", FILES)
def test_what_was_written_is_read(name):
    write, sensor = FILES[name]
    found = recording_of(write(EVENTS), name)
    assert events_of(found) == EVENTS
    assert (found.width, found.height) == sensor
    assert (found.t.dtype, found.x.dtype, found.y.dtype, found.p.dtype) == (np.int64, np.uint16, np.uint16, np.uint8)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"^{name}\b.*; .*(restore|give)"):
        recording_of(FILES[name][0](EVENTS)[:-1], name)


@pytest.mark.parametrize("name", FILES)
def test_time_that_goes_backwards_is_refused(name):
    with pytest.raises(ValueError, match=rf"^{name}: .*event 2 has the time 50 us behind 60 us, but times do not"):
        recording_of(FILES[name][0]([(50, 1, 1, 0), (60, 1, 1, 0), (50, 1, 1, 1)]), name)


@pytest.mark.parametrize("name", FILES)
def test_an_address_beyond_the_sensor_is_refused(name):
    with pytest.raises(ValueError, match=rf"^{name}: .*event 1 has the address x=33, y=2, but the sensor has 33 col"):
        recording_of(FILES[name][0]([(50, 32, 2, 0), (60, 33, 2, 0)]), name, (33, 40))


def test_a_place_is_told_by_its_byte():
    with pytest.raises(ValueError, match=r"^r.bin: byte 10: "):
        recording_of(nmnist([(1, 0, 0, 0), (2, 0, 0, 0), (1, 0, 0, 0)]), "r.bin")
    start = len(dat([]))
    with pytest.raises(ValueError, match=rf"^r.dat: byte {start + 8}: the file ends 3 byte\(s\) into record 1, but a"):
        recording_of(dat(EVENTS)[: start + 11], "r.dat")


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (b"not of this kind", "r.raw", "byte 0: begins with 6e6f7420"),
        (b"% evt 2.1\n% end\n", "r.raw", "byte 0: the header says EVT version 2.1"),
        (b"% endianness big\n% evt 3.0\n% end\n", "r.raw", "byte 0: words are big-endian"),
        (evt3([0x8001, 0x9000]), "r.raw", "word 1 is of type 0x9"),
        (b"% Version 2\n\x0e\x08", "r.dat", "byte 12: events are of type 0xe"),
        (b"#!AER-DAT2.0\r\n", "r.aedat", "begins with '#!AER-DAT2.0'"),
        (aedat3(EVENTS, valid=6), "r.aedat", "a packet of 5 events with bit 0 set, but its header says that 6"),
        (b"PK", "r.npz", "numpy says"),
        (columns([(1, 2, 3, 2)]), "r.npy", "event 0 has the polarity 3"),
        (b"", "r.txt", "no kind of file that is read"),
    ],
)
def test_what_is_wrong_is_said(content, name, told):
    with pytest.raises(ValueError, match=rf"^{name}: .*{told}.*; "):
        recording_of(content, name)


def test_rows_240_of_nmnist_are_overflows():
    marked = nmnist([(100, 1, 1, 0), (0, 0, 240, 0), (5, 2, 2, 1)])
    assert events_of(recording_of(marked, "r.bin")) == [(100, 1, 1, 0), (8197, 2, 2, 1)]


def test_evt3_vectors():
    """A vector begins at VECT_BASE_X, and each moves the base on by its own length, whatever bits are set."""
    words = [0x6001, 0x2003, 0x8001, 0x6010, 0x0007, 0x3800 | 100, 0x4801, 0x5081, 0x4002, 0x0008, 0x4001, 0xE000]
    assert events_of(recording_of(evt3(words), "r.raw")) == [
        (4112, 100, 7, 1), (4112, 111, 7, 1), (4112, 112, 7, 1), (4112, 119, 7, 1), (4112, 121, 7, 1),
        (4112, 132, 8, 1),
    ]  # fmt: skip


def test_evt3_time_is_that_of_its_two_words():
    """A changed TIME_HIGH begins at its first microsecond; the same again changes nothing; a decrease is a wrap."""
    words = [0x8FFE, 0x6FFF, 0x0001, 0x2001, 0x8FFE, 0x2002, 0x8FFF, 0x2003, 0x6005, 0x2004, 0x8003, 0x2005]
    times = [t for t, *_ in events_of(recording_of(evt3(words), "r.raw"))]
    base = 1 << 24
    assert times == [0xFFEFFF, 0xFFEFFF, 0xFFF000, 0xFFF005, base + 0x3000]


def test_what_stands_before_the_first_time_is_left_out():
    undated = [0x0001, 0x2001, 0x3002, 0x4001, 0x8000, 0x2003]
    assert [x for _, x, *_ in events_of(recording_of(evt3(undated), "r.raw"))] == [3]
    content = evt2([(70, 2, 2, 1)])
    start = content.index(b"% end\n") + 6
    early = content[:start] + struct.pack("<I", 1 << 28 | 1 << 11 | 1) + content[start:]
    assert events_of(recording_of(early, "r.raw")) == [(70, 2, 2, 1)]


def test_counters_that_wrap():
    long = [(4294967295, 1, 1, 0), (4294967296, 1, 1, 1)]
    assert events_of(recording_of(dat([(t & 0xFFFFFFFF, x, y, p) for t, x, y, p in long]), "r.dat")) == long
    late = [((1 << 34) - 1, 1, 1, 0), (1 << 34, 1, 1, 1)]
    assert events_of(recording_of(evt2(late), "r.raw")) == late
    assert events_of(recording_of(aedat3([(7, 1, 1, 0)], overflow=2), "r.aedat")) == [((2 << 31) + 7, 1, 1, 0)]


@pytest.mark.parametrize(("write", "name"), [(write_bin, "a.bin"), (write_npz, "a.npz")])
def test_what_is_written_is_read_again(write, name):
    recording = recording_of(nmnist(EVENTS), "r.bin")
    assert events_of(recording_of(write(recording), name)) == EVENTS


def test_a_recording_without_events():
    for name in ("r.bin", "r.dat", "evt2.raw", "evt3.raw", "r.aedat4"):
        assert len(recording_of(FILES[name][0]([]), name)) == 0


# --- sets -----------------------------------------------------------------------------------------------------------


def lay(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_the_published_layout_in_a_folder_and_in_a_zip(tmp_path):
    files = {f"{top}/{digit}/{i:05}.bin": nmnist(EVENTS[: i + 1])
             for i, (top, digit) in enumerate([("Train", 10), ("Train", 9), ("Test", 9)])}  # fmt: skip
    folder = lay(tmp_path / "set", files)
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"N-MNIST/{name}", content)
    for path in (folder, packed):
        with opened_set(path) as found:
            assert found.classes == ("9", "10")  # as numbers
            assert [(entry.label, entry.part) for entry in found.entries] == [(0, "test"), (1, "train"), (0, "train")]
            assert [len(found.read(entry)) for entry in found.of("train", "test")] == [3, 1, 2]


def test_class_folders_alone_of_several_kinds(tmp_path):
    root = lay(tmp_path, {"set/cat/a.npy": structured(EVENTS), "set/dog/b.dat": dat(EVENTS), "set/readme.md": b"",
                          "set/c.bin": b""})  # fmt: skip
    for path in (root / "set",):
        with opened_set(path) as found:
            assert (found.classes, [entry.part for entry in found.entries]) == (("cat", "dog"), ["", ""])
            assert found.notes == ("left out: 1 recording(s) in no class (c.bin, ...)",)
            assert {tuple(events_of(found.read(entry))) for entry in found.entries} == {tuple(EVENTS)}


def test_gestures_are_cut_from_their_recordings(tmp_path):
    labels = b"class,startTime_usec,endTime_usec\n2,0,4096\n11,4096,80000\n"
    root = lay(tmp_path, {"u.aedat": aedat3(EVENTS), "u_labels.csv": labels, "trials_to_test.txt": b"u.aedat\n"})
    with opened_set(root) as found:
        assert found.classes == ("2", "11")
        assert [(entry.label, entry.part) for entry in found.entries] == [(0, "test"), (1, "test")]
        assert [events_of(found.read(entry)) for entry in found.entries] == [EVENTS[:3], EVENTS[3:]]
    lay(root, {"u_labels.csv": labels + b"3,9,9\n"})
    with pytest.raises(ValueError, match=r"u_labels.csv: line 4: 3,9,9, but a line is"), opened_set(root):
        pass


def test_a_set_without_recordings_is_refused(tmp_path):
    loose = lay(tmp_path, {"a.bin": b""})
    for path, told in (
        (loose, r"no recording \(.bin, .*\) stands in a folder of its class"),
        (tmp_path / "nowhere", "nowhere: no such folder or .zip; give a folder"),
    ):
        with pytest.raises(ValueError, match=told), opened_set(path):
            pass


def test_real_recordings():
    path = next((p / "shared/data/nmnist-small.zip" for p in Path(__file__).resolve().parents
                 if (p / "shared/data/nmnist-small.zip").is_file()), None)  # fmt: skip
    if path is None:
        pytest.skip("shared/data/nmnist-small.zip is not there: no real recordings")
    with opened_set(path) as found:
        assert (len(found.classes), len(found.entries)) == (10, 1000)
        some = [found.read(entry) for entry in found.entries[::100]]
    assert all(1_000 < len(recording) < 8_000 for recording in some)
    assert all(290_000 < recording.duration < 320_000 for recording in some)
