"""Events per window against counting them one by one, and the law against adding up by hand."""

import numpy as np
import pytest

from scaflow.hw.activity import law_events, law_words, walked_events, window_events
from scaflow.hw.serving import repeated, settled
from scaflow.quant.graph import Conv, Readout


def node(kernel, stride, padding, channels):
    weight, one = np.ones((1, channels, *kernel), int), np.ones(1, int)
    return Conv("c", weight, one, one, stride, padding, 0, "hard", 0, 4, 1, (0,))


def counted(spikes, conv, bank):
    """The definition, window by window."""
    n, steps, _, height, width = spikes.shape
    pad, (kh, kw) = conv.padding, conv.kernel
    padded = np.pad(spikes, ((0, 0), (0, 0), (0, 0), (pad, pad), (pad, pad))) != 0
    out_h = (height + 2 * pad - kh) // conv.stride + 1
    out_w = (width + 2 * pad - kw) // conv.stride + 1
    out = np.zeros((n, out_h, out_w, steps), int)
    for y, x in np.ndindex(out_h, out_w):
        top, left = y * conv.stride, x * conv.stride
        window = padded[:, :, :, top : top + kh, left : left + kw].sum((3, 4))
        for b in set(bank) - {-1}:
            members = [c for c, of in enumerate(bank) if of == b]
            out[:, y, x] = np.maximum(out[:, y, x], window[:, :, members].sum(2))
    return out


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "bank"),
    [
        ((3, 3), 1, 1, (0, 1, 2, 0, 1)),
        ((3, 3), 2, 1, (0, 0, -1, 1, -1)),
        ((5, 4), 1, 0, (0, 0, 0, 0, 0)),
        ((1, 1), 2, 0, (4, 3, 2, 1, 0)),
        ((2, 5), 1, 1, (1, 0, 1, 0, 1)),
    ],
)
def test_windows_are_counted(kernel, stride, padding, bank):
    spikes = (np.random.default_rng(0).random((3, 2, 5, 6, 7)) < 0.3).astype(np.uint8)
    conv = node(kernel, stride, padding, 5)
    assert np.array_equal(window_events(spikes, conv, bank), counted(spikes, conv, bank))


def test_any_pixel_but_zero_is_an_event():
    images = np.array([0, 1, 200, 0], np.uint8).reshape(1, 1, 1, 2, 2)
    assert window_events(images, node((2, 2), 1, 0, 1), (0,)).tolist() == [[[[2]]]]


def test_banks_must_fit_the_channels():
    with pytest.raises(ValueError, match=r"^node 'c': \(2,\) banks and spikes \(1, 1, 3, 4, 4\) for 3 channels"):
        window_events(np.zeros((1, 1, 3, 4, 4), np.uint8), node((3, 3), 1, 0, 3), (0, 1))


def test_a_window_without_events_costs_a_cycle_a_fold():
    windows = np.array([[[[0, 3]]], [[[0, 0]]]])
    assert law_events(windows, folds=2, time_steps=2).tolist() == [2 * (1 + 3), 2 * (1 + 1)]


def test_repetitions_of_a_first_layer_that_take_longer_than_its_currents():
    n = np.random.default_rng(1).integers(0, 9, 40).tolist()
    windows = np.array(n * 6).reshape(6, 5, 8, 1)
    steps = np.maximum(n, 1)
    assert law_events(windows, folds=2, time_steps=5)[-1] == settled(lambda image: repeated(image, 2, 5, 1), steps)
    assert law_events(windows, folds=2, time_steps=5)[-1] > 2 * sum(n)


@pytest.mark.parametrize("rounds", [1, 4, 9])
def test_results_wait_for_neurons(rounds):
    """One by one: a result is served while another one waits."""
    windows = np.random.default_rng(rounds).integers(0, 9, (5, 4, 3, 2))
    last, served, ends = 0, -rounds, [0]
    for image in windows:
        for n in image.ravel().repeat(3).tolist():
            last = max(last + max(1, n), served + 1)
            served = max(last, served + rounds)
        ends.append(served)
    found = law_events(windows, 3, 2, rounds)
    assert found.tolist() == np.diff(ends).tolist()
    steps = 3 * np.maximum(windows, 1)
    assert (found[1:] <= 3 * np.maximum(windows, rounds).reshape(5, -1).sum(1)[1:] + rounds).all()
    assert found.sum() >= max(steps.sum(), rounds * 3 * (windows.size - 1))


def test_repetitions_in_rounds_take_longer():
    windows = np.full((6, 5, 8, 1), 7)
    for rounds, cycles in ((1, 2 * 7), (2, 5 * 2 * 2), (3, 5 * 2 * 3)):  # as long as forming, or as repeating
        assert law_events(windows, folds=2, time_steps=5, rounds=rounds)[-1] == 40 * cycles


def test_a_word_costs_its_fullest_bank_or_the_silent_words_behind_it():
    """One by one: a word is looked ahead for while another is walked, and a silent one is not walked."""
    rng = np.random.default_rng(3)
    words = rng.integers(0, 5, (9, 3, 4, 2)) * (rng.random((9, 3, 4, 2)) < rng.random((9, 1, 1, 1)))
    words[4, -1, -1, -1], words[5] = 30, 0  # a word that takes longer than the silent ones behind it come in
    words[5, -1, 0, 0] = 2
    taken, steps, arrived, ends = 0, 0, 0, [0]
    for image in words:
        for i, n in enumerate(image.ravel()):
            arrived = max(arrived + 1, taken)
            if n or i == image.size - 1:
                taken, steps = max(arrived + 1, taken + steps), max(1, int(n))
        ends.append(taken + steps)
    cycles = law_words(words, 0)
    assert cycles[1:].tolist() == np.diff(ends)[1:].tolist()
    assert (cycles < 24).any() and (cycles > 24).any()  # fewer than words, and more
    assert law_words(words, 28).tolist() == np.maximum(cycles, 30).tolist()


def test_the_words_of_a_read_out_are_its_windows():
    spikes = (np.random.default_rng(4).random((2, 3, 5, 4, 6)) < 0.4).astype(np.uint8)
    readout = Readout("readout", np.ones((2, 5, 4, 6), int), np.zeros(2, int), 8)
    places = (3, -1, 0, 2, 1)
    walked = spikes[:, :, [2, 4, 3, 0]].transpose(0, 3, 4, 1, 2).astype(int)
    banks = np.maximum(walked[..., 0::2].sum(-1), walked[..., 1::2].sum(-1))
    assert np.array_equal(walked_events(spikes, readout, places, 2), banks)
    grouped = walked.reshape(2, 4, 6, 3, 2, 2).any(-1)
    assert np.array_equal(walked_events(spikes, readout, places, 2, (1, 2)), grouped.max(-1))
    assert np.array_equal(walked_events(spikes, readout, places, 1, (1, 2)), grouped.sum(-1))
