"""The test suite of one RTL module, written once: its test file says what is particular and inherits this.

    class TestStreamFifo(RtlSuite):
        stem = "stream_fifo"
        directed = (StreamFifo(width=8, depth=2), ...)
        mutants = (("count_q != FULL", "1'b1"), ...)

        def draw(self, rng): ...            # a random shape
        def beats(self, cfg, rng): ...      # a long random input sequence
        def cycles(self, cfg, beats): ...   # the cycle law

A module with several streams in or out inherits `StreamsSuite`: a list of beats a stream stands for the beats, in
`beats`, `cycles` and the twin, and the dataclass names the streams in `inputs` and `outputs`.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from scaflow.hw.mem import parameters
from scaflow.sim.build import RTL, lint, sources_of
from scaflow.sim.rtl import Run, SimulationError, Streams, simulate, simulate_runs, single

RANDOM_SHAPES = 4  # in every test run
FULL_SHAPES = 40  # in the wide sweep, the first ones included
STALLS = 0.4
# Cycles without any beat, after which a run hangs. Sound modules and mutants are given the same, so that a mutant is
# caught by what every shape is tested for; most mutants hang, and this is then their simulation time.
PATIENCE = 2000

# Text that occurs once in the module, its replacement, and where the first directed shapes, each a build, are known not
# to notice: the index of the one to begin with.
Mutant = tuple[str, str] | tuple[str, str, int]


def twin_of(stem: str) -> Callable[[Any, list], list]:
    """The golden twin `stem(cfg, beats)`, or `stem(cfg, streams)` of a module with several."""
    return getattr(importlib.import_module(f"scaflow.quant.golden.{stem}"), stem)


def compare(stem: str, cfg, beats: Sequence[int], **options) -> Run:
    """Run RTL and twin on the same beats; the twin listens to the input monitor.

    Raises:
        AssertionError: an output beat differs; says which, when, and both values.
        SimulationError: the run itself failed.
    """
    twin = twin_of(stem)
    run = simulate(stem, cfg, beats, expect=len(twin(cfg, list(beats))), **options)
    _hold(f"{stem} {cfg}", run.y, run.out_at, twin(cfg, run.x))
    return run


def _hold(title: str, beats: list[int], at: list[int], golden: list[int]) -> None:
    """Output beats against the twin's."""
    assert len(beats) == len(golden), f"{title}: {len(beats)} output beats, golden has {len(golden)}"
    for i, (got, wanted) in enumerate(zip(beats, golden, strict=True)):
        assert got == wanted, f"{title}: output beat {i} at cycle {at[i]} is {got:#x}, golden {wanted:#x}"


class RtlSuite:
    """Equality with the twin over directed and random shapes, flowing and stalling; the law; the mutants."""

    stem: ClassVar[str]
    directed: ClassVar[Sequence[Any]]
    mutants: ClassVar[Sequence[Mutant]]

    def draw(self, rng: random.Random) -> Any:
        """A random shape."""
        raise NotImplementedError

    def beats(self, cfg: Any, rng: random.Random) -> list:
        """A long random input sequence for `cfg`."""
        raise NotImplementedError

    def cycles(self, cfg: Any, beats: list) -> int | None:
        """The law: cycles from the first input beat to the last output beat, flowing. None: no law."""
        return None

    def probes(self, cfg: Any, beats: list) -> dict[str, int]:
        """Further outputs of the module and what they must be at the end."""
        return {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "cfg" in metafunc.fixturenames:
            shapes = [pytest.param(cfg, id=f"directed{i}") for i, cfg in enumerate(self.directed)]
            for i in range(FULL_SHAPES):
                marks = [pytest.mark.full] if i >= RANDOM_SHAPES else []
                cfg = self.draw(random.Random(f"{self.stem} {i}"))
                shapes.append(pytest.param(cfg, id=f"random{i}", marks=marks))
            metafunc.parametrize("cfg", shapes)
        if "mutant" in metafunc.fixturenames:
            metafunc.parametrize("mutant", self.mutants, ids=[f"mutant{i}" for i in range(len(self.mutants))])

    def held(self, cfg: Any, run: Any) -> None:
        """Laws of single beats, in each of the runs: a `Run`, or of several streams a `Streams`."""

    @pytest.mark.rtl
    def test_shape(self, cfg: Any) -> None:
        """Equal to the twin without stalls, in exactly the cycles of the law, and with random pauses at all ends."""
        self._check(cfg)

    @pytest.mark.rtl
    def test_lint(self) -> None:
        """No warning of Verilator at any directed shape."""
        for cfg in self.directed:
            lint(self.stem, sources_of(RTL / f"{self.stem}.sv"), parameters(cfg))

    @pytest.mark.rtl
    def test_mutant(self, mutant: Mutant, tmp_path: Path) -> None:
        """The directed shapes notice one broken line."""
        old, new, first = (*mutant, 0)[:3]
        text = (RTL / f"{self.stem}.sv").read_text()
        assert text.count(old) == 1, f"{self.stem}.sv holds {old!r} {text.count(old)} times; it must once"
        broken = tmp_path / f"{self.stem}.sv"
        broken.write_text(text.replace(old, new))
        assert self._caught(broken, first), f"{self.stem}.sv with {old!r} -> {new!r} passes every directed test"

    def _caught(self, broken: Path, first: int) -> bool:
        for cfg in (*self.directed[first:], *self.directed[:first]):
            try:
                self._check(cfg, broken)
            except (AssertionError, SimulationError):
                return True
        return False

    def _check(self, cfg: Any, source: Path | None = None) -> None:
        beats = self.beats(cfg, random.Random(f"{self.stem} {cfg}"))
        expected, streams, chances = self.probes(cfg, beats), self._streams(beats), (0.0, STALLS)
        golden = self._twin(cfg, streams)
        lengths = [len(stream) for stream in golden]
        options: dict[str, Any] = {"seed": 1, "patience": PATIENCE, "probes": tuple(expected), "source": source}
        runs = simulate_runs(self.stem, cfg, streams, expect=lengths, stalls=chances, **options)
        for stalls, run in zip(chances, runs, strict=True):  # each took the beats that the twin was given
            title = f"{self.stem} {cfg}, {'stalling' if stalls else 'flowing'}"
            for name, seen, wanted in zip(getattr(cfg, "outputs", ("out",)), run.outputs, golden, strict=True):
                _hold(f"{title}, {name}", seen.beats, seen.at, wanted)
            assert run.probes == expected, f"{title}: at the end {run.probes}, expected {expected}"
            law = None if stalls else self.cycles(cfg, beats)
            assert law in (None, run.cycles), f"{title}: {run.cycles} cycles, the law says {law}"
            self.held(cfg, self._shown(run))

    def _streams(self, beats: list) -> list[list[int]]:
        return [beats]

    def _twin(self, cfg: Any, streams: list[list[int]]) -> list[list[int]]:
        return [twin_of(self.stem)(cfg, streams[0])]

    def _shown(self, run: Streams) -> Any:
        return single(run)


class StreamsSuite(RtlSuite):
    """The same of a module with several streams."""

    def _streams(self, beats: list) -> list[list[int]]:
        return beats

    def _twin(self, cfg: Any, streams: list[list[int]]) -> list[list[int]]:
        return twin_of(self.stem)(cfg, streams)

    def _shown(self, run: Streams) -> Any:
        return run
