"""First layers that walk rows of pixels: a row's pattern is longer than a memory is deep, and picks a word by each of a
few parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chains import assert_as_simulated, images_of, spiking

from scaflow.hw.area import area
from scaflow.hw.clock import stage_cycles
from scaflow.hw.design import design
from scaflow.hw.emit import emit, emit_stage
from scaflow.hw.fold import Fold
from scaflow.hw.groups import word_bits
from scaflow.hw.solve import _groups
from scaflow.hw.synth import synthesize
from scaflow.model.limits import MOST_PART, group_problem, pattern_parts
from scaflow.quant.graph import Graph, Pool, Readout, execute, validate
from scaflow.sim.build import lint, sources_of
from scaflow.sim.rtl import simulate_axis

NODES = (
    spiking("one", 6, 3, (3, 3), 1, 1, 8), Pool("pool_one", 2), spiking("two", 5, 6, (3, 3), 1, 1),
    Readout("readout", np.random.default_rng(4).integers(-100, 101, (3, 5, 4, 3)), np.array([7, 0, -9]), 8),
)  # fmt: skip


def laid_out(group, reset="hard", simd=1):
    one = replace(NODES[0], reset=reset)
    graph = validate(Graph("rows", (3, 8, 7), 3, (one, *NODES[1:])))
    folds = {"one": Fold(4, simd, "event", group=group), "two": Fold(5, 3), "readout": Fold(3, 2)}
    return design(graph, folds)


CASES = [
    ((3, 1), "hard", 2), pytest.param((3, 1), "soft", 1, marks=pytest.mark.full),
    pytest.param((1, 3), "soft", 1, marks=pytest.mark.full), pytest.param((3, 2), "hard", 1, marks=pytest.mark.full),
]  # fmt: skip


def test_a_pattern_has_as_few_parts_as_a_memory_is_deep_for():
    cases = {(1, 8): 1, (2, 8): 2, (3, 8): 3, (4, 8): 4, (5, 8): 8, (4, 2): 1, (3, 5): 2, (9, 8): 8}
    assert {case: pattern_parts(*case) for case in cases} == cases
    assert all(numbers * -(-bits // parts) <= MOST_PART for (numbers, bits), parts in cases.items())
    assert word_bits((3, 1), 8) == 9
    # spikes have no parts: up to twelve of them pick one word
    assert [pattern_parts(numbers, 1) for numbers in (9, 12, 13)] == [1, 1, 0]
    assert group_problem((7, 1), 7, 8) is None
    assert "[8, 1] of activations of 8 bits has patterns of 64 bits, and at most 56 pick words" in str(
        group_problem((8, 1), 8, 8)
    )


def test_more_words_than_are_added_in_a_cycle_are_refused():
    """Three pixels of 8 bits pick three words in each bank."""
    one = spiking("one", 4, 24, (3, 3), 1, 1, 8)
    nodes = (one, Readout("readout", np.ones((2, 4, 5, 5), int), np.zeros(2, int), 8))
    graph = validate(Graph("wide", (24, 5, 5), 3, nodes))

    def folds(simd):
        return {"one": Fold(2, simd, "event", group=(3, 1)), "readout": Fold(2, 1)}

    assert design(graph, folds(21)).stages[0].simd == 21
    with pytest.raises(ValueError, match=r"picks 3 words in each of simd=22 banks, and at most 64 .* simd of 21 or"):
        design(graph, folds(22))


@pytest.mark.rtl
@pytest.mark.parametrize(("group", "reset", "simd"), CASES)
def test_the_whole_top_and_the_exact_clock(group, reset, simd, tmp_path):
    laid = laid_out(group, reset, simd)
    images = images_of(laid, 6)
    images[2:4, :, :, 2:] = 0  # silent rows
    logits = execute(laid.graph, images)
    assert len(np.unique(logits)) > 6
    lint("top", sources_of(emit(laid, tmp_path / "rtl", counters=True)))
    assert_as_simulated(laid, images, None, None, tmp_path / "rtl")
    emit(laid, tmp_path / "plain")
    frames = [image.transpose(1, 2, 0).tobytes() for image in images]
    run = simulate_axis(tmp_path / "plain", "top", frames, axi_bytes=4, expect=4, stalls=0.3, seed=2)
    assert [[w - (w >> 31 << 32) for w in words[1:]] for words in run.words] == logits.tolist()


def test_a_row_costs_a_cycle_and_a_silent_one_none():
    images = images_of(laid_out((3, 1)), 6)
    images[:] = 255
    full = {group: stage_cycles(laid_out(group), "one", images).interval.mean() for group in ((1, 1), (3, 1))}
    windows, folds = 8 * 7, 2
    rows = windows * 3 - 2 * 7  # those above and below the map are not walked
    assert full[3, 1] == rows * 3 * folds  # of three channels in one bank
    assert full[1, 1] == (rows * 3 - 2 * (8 * 3 - 2)) * 3 * folds
    images[:] = 0
    assert stage_cycles(laid_out((3, 1)), "one", images).interval.mean() == windows * folds


def test_the_solver_is_offered_rows_of_pixels():
    graph = laid_out((3, 1)).graph
    assert _groups(graph.nodes[0], graph.edges()[0]) == [(1, 1), (1, 2), (3, 1), (3, 2)]


@pytest.mark.parametrize("family", ["xc7", pytest.param("ecp5", marks=pytest.mark.full)])
def test_block_ram_of_parts_is_that_of_a_synthesis(family, tmp_path):
    """Three parts read a memory of 2,048 words: one side of a block RAM each. There is no multiplier."""
    laid = laid_out((3, 1))
    emit_stage(laid, "one", tmp_path / "rtl")
    target = "xc7" if family == "xc7" else "ecp5-85"
    found = synthesize(tmp_path / "rtl", "top", target, cache=tmp_path / "cache", route=False)
    told = area(laid.stages[0].instances, family)
    assert (found.bram, found.dsp) == (told.bram, 0) and told.dsp == 0
    assert found.bram > 4
