"""axis_events against its twin, its law, and the binning of recordings in software."""

from __future__ import annotations

import random

import numpy as np
import pytest

from scaflow.hw.timing.intake import intake
from scaflow.model.events.binning import Binning, binned
from scaflow.model.events.recording import Recording
from scaflow.quant.golden.axis_events import AxisEvents, axis_events, counted, event_word
from scaflow.quant.golden.beats import unpack
from scaflow.sim.stream import pauses
from scaflow.sim.suite import STALLS, RtlSuite, compare


def recording(cfg: AxisEvents, rng: random.Random, events: int, longest: int) -> list[int]:
    """Bursts at few pixels, pauses of many bins, and some addresses beside the window."""
    t = rng.randrange(3 * cfg.bin) if not cfg.from_first else rng.getrandbits(32)
    words = []
    for i in range(events):
        x, y = cfg.x0 + rng.randint(-1, cfg.width), cfg.y0 + rng.randint(-1, cfg.height)
        if rng.random() < 0.5:  # the same pixel, or a neighbour, in the next cycle
            x, y = cfg.x0, cfg.y0 + rng.randrange(min(2, cfg.height))
        word = event_word(t, max(x, 0), max(y, 0), rng.randrange(2), i == events - 1) | rng.getrandbits(3) << 61
        words.append(word)
        t += rng.choice((0, 0, 1, cfg.bin // 9, rng.randrange(longest)))
    return words


class Pausing:
    """Source and sink of sim/stream.py, as `intake` asks them: the same pauses, from the first event on."""

    def __init__(self, seed: int) -> None:
        self.source_waits, self.sink_waits = (pauses(f"{end} {seed}", STALLS) for end in ("source", "sink"))
        self.looks, self.took = -2, -1  # the edge at which the sink next looks for a pixel; that of the last one taken

    def source(self, beat: int, cycle: int) -> int:
        """The pause begins when the event before has been taken, which is while the module may be busy."""
        wait = next(self.source_waits)
        offered = self.accepted + 1 + wait if beat else 0
        self.accepted = max(offered, cycle)
        return self.accepted

    def sink(self, beat: int, cycle: int) -> int:
        """A pixel that is there when it looks, or has just been taken, makes it pause; then it is ready for an edge."""
        while self.looks == self.took or self.looks >= cycle:
            self.looks += next(self.sink_waits) + 1
            if self.looks >= cycle:
                self.took = self.looks
                return self.took
            self.took = -1
        self.looks = self.took = cycle + next(self.sink_waits)
        return self.took


class TestAxisEvents(RtlSuite):
    stem = "axis_events"
    directed = (
        AxisEvents(x0=0, y0=0, width=5, height=4, channels=2, bits=2, bin=100, time_bits=20),
        AxisEvents(x0=3, y0=2, width=4, height=3, channels=1, bits=1, bin=37, time_bits=32, from_first=0),
        AxisEvents(x0=0, y0=0, width=8, height=2, channels=2, bits=1, bin=1000, time_bits=13),  # times wrap
        AxisEvents(x0=1, y0=0, width=1, height=1, channels=2, bits=8, bin=500, time_bits=16, from_first=0),
        AxisEvents(x0=0, y0=5, width=3, height=7, channels=1, bits=4, bin=1, time_bits=8),
    )
    mutants = (
        ("again_2 ? held : word_2", "word_2"),
        ("again_1 ? held : word[filling_1]", "word[filling_1]"),
        ("{filling_2, place_2} == {filling, place}", "place_2 == place"),
        ("if (leaving) walking", "if (swap) walking"),
        ("hit && n != '1", "hit"),
        ("(wiped || !fills)", "wiped"),
        ("(wiped || !fills)", "(!fills)"),
        ("!walking && !read", "!walking"),
        ("!leaving && !walking", "!walking"),
        ("walking && enable", "walking"),
        ("fills || enable", "1'b1"),
        ("!fresh && !beyond", "!beyond"),
        ("!late && !closing", "!late"),
        ("ending <= closing", "ending <= 1'b1"),
        ("column < PLACE_BITS'(WIDTH) &&", ""),
        ("timed && since", "since"),
        ("swap && closing ? '0 :", "", 1),
        ("s_axis_tready = !wiping && ", "s_axis_tready = "),
    )

    def draw(self, rng: random.Random) -> AxisEvents:
        time_bits = rng.randint(8, 32)
        longest = min(1 << 20, (1 << time_bits - 1) // 8)
        width, height = rng.randint(1, 9), rng.randint(1, 9)
        return AxisEvents(rng.randrange(4), rng.randrange(4), width, height, rng.randint(1, 2), rng.randint(1, 8),
                          rng.randint(1, longest), time_bits, rng.randrange(2))  # fmt: skip

    def beats(self, cfg: AxisEvents, rng: random.Random) -> list[int]:
        words = []
        for events in (1, 40, 2, 300, 25):
            longest = min(3 * cfg.bin, (1 << cfg.time_bits - 1) - cfg.bin)
            words += recording(cfg, rng, events, max(1, longest // (1 + events // 30)))
        return words

    def cycles(self, cfg: AxisEvents, beats: list[int]) -> int:
        return intake(cfg, beats).taken[-1] + 1

    def probes(self, cfg: AxisEvents, beats: list[int]) -> dict[str, int]:
        done = counted(cfg, beats)
        return {"dropped": done.dropped, "time_error": done.time_error}

    @pytest.mark.rtl
    def test_every_cycle_is_that_of_the_clock(self) -> None:
        """Of every event and every pixel, flowing, and with the pauses of the bench's ends."""
        for cfg in self.directed[:3]:
            beats = self.beats(cfg, random.Random(2))
            for ends, options in ((None, {}), (Pausing(3), {"stalls": STALLS, "seed": 3})):
                run = compare(self.stem, cfg, beats, **options)
                told = intake(cfg, beats, ends and ends.source, ends and ends.sink)
                assert [at - run.in_at[0] for at in run.in_at] == told.accepted
                assert [at - run.in_at[0] for at in run.out_at] == told.taken

    @pytest.mark.rtl
    def test_time_that_goes_backwards(self) -> None:
        """time_error rises with an event before its bin, which counts there; not with one that is late within it."""
        cfg = self.directed[0]
        for times, wrong in (((500, 550, 520), 0), ((500, 601, 590), 1)):
            beats = [event_word(t, 1, 1, 1, i == 2) for i, t in enumerate(times)]
            run = compare(self.stem, cfg, beats, probes=("time_error",))
            assert run.probes == {"time_error": wrong}
            assert sum(unpack(beat, 2, 2)[1] for beat in run.y) == 3


@pytest.mark.parametrize("start", ["first", "zero"])
@pytest.mark.parametrize(("bits", "polarity"), [(1, "channels"), (3, "joined"), (8, "channels")])
def test_the_twin_counts_as_the_binning_of_recordings(start, bits, polarity) -> None:
    rng = random.Random(f"{start} {bits} {polarity}")
    settings = Binning(bin_us=700, bits=bits, polarity=polarity, crop=(2, 1, 6, 5), start=start)
    cfg = AxisEvents(2, 1, 6, 5, settings.channels, bits, 700, 24, int(start == "first"))
    beats, frames, dropped = [], [], 0
    for _ in range(4):
        t = np.cumsum(rng.choices((0, 1, 30, 2_500), (4, 4, 4, 1), k=200)) + 1_000
        x, y, p = (np.array(rng.choices(range(n), k=200)) for n in (10, 8, 2))
        events = zip(t.tolist(), x.tolist(), y.tolist(), p.tolist(), strict=True)
        beats += [event_word(*event, i == 199) for i, event in enumerate(events)]
        found = binned(Recording(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), 10, 8), settings)
        dropped += found.dropped
        frames.append(found.counts)
    words = axis_events(cfg, beats)
    counts = np.array([unpack(word, bits, cfg.channels) for word in words]).reshape(-1, 5, 6, cfg.channels)
    np.testing.assert_array_equal(counts.transpose(0, 3, 1, 2), np.concatenate(frames))
    flags = [word >> bits * cfg.channels for word in words]
    ends = np.cumsum([len(part) for part in frames]) * cfg.pixels - 1
    assert [i for i, flag in enumerate(flags) if flag & 1] == [*range(29, len(words), 30)]
    assert [i for i, flag in enumerate(flags) if flag & 2] == ends.tolist()
    assert counted(cfg, beats).dropped == dropped
