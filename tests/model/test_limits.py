"""What a description asks of the hardware is told before anything runs: lanes, schedulers, the read-out's widths."""

from __future__ import annotations

import pytest

from scaflow.model.config import load_network

LAYERS = '{ channels = 6 }, { channels = 8, kernel = 1, stride = 2, padding = 0 }, { kind = "linear", channels = 5 }'


def refusal(tmp_path, fold, layers=LAYERS, sca="keep = 0.8", head=""):
    path = tmp_path / "net.toml"
    path.write_text(
        f'name = "net"\ndataset = "digits"\ntime_steps = 4\nlayers = [{layers}]\n{head}\n'
        f"[train]\nepochs = 1\n[sca]\n{sca}\n[fold]\n{fold}\n"
    )
    try:
        load_network(path)
    except ValueError as error:
        return [line.strip() for line in str(error).splitlines()[1:]]
    return []


@pytest.mark.parametrize("where", ["fold", "fold.event"])
def test_lanes_of_each_layer(tmp_path, where):
    table = "[fold.event]\n" if where == "fold.event" else ""
    assert refusal(tmp_path, f"{table}pe = [6, 8, 5]\nsimd = [1, 6, 8, 5]") == []
    assert refusal(tmp_path, f"{table}pe = [0, 9, 5]\nsimd = [2, 6, -1, 6]") == [
        f"{where}.pe[0]: layers[0]: pe=0 must be 1 to its 6 output channels",
        f"{where}.pe[1]: layers[1]: pe=9 must be 1 to its 8 output channels",
        f"{where}.simd[0]: layers[0]: simd=2 must be 1 to 1, its input channels",
        f"{where}.simd[2]: layers[2]: simd=-1 must be 1 to 8, its input channels",
        f"{where}.simd[3]: the read-out: simd=6 must be 1 to 5, its input channels",
    ]
    assert refusal(tmp_path, f"{table}pe = [1, 1]\nsimd = [1, 1, 1]") == [
        f"{where}.pe: 2 values for 3 spiking layers; give one per layer",
        f"{where}.simd: 3 values; give 4: per spiking layer, then the read-out",
    ]


@pytest.mark.parametrize("where", ["fold", "fold.event"])
def test_neurons_of_each_layer(tmp_path, where):
    table = "[fold.event]\n" if where == "fold.event" else ""
    lanes = f"{table}pe = [6, 8, 5]\nsimd = [1, 6, 8, 5]\n"
    assert refusal(tmp_path, f"{lanes}neurons = [1, 3, 5]") == []
    assert refusal(tmp_path, f"{lanes}neurons = [0, 9, 5]") == [
        f"{where}.neurons[0]: layers[0]: neurons=0 must be 1 to its pe=6",
        f"{where}.neurons[1]: layers[1]: neurons=9 must be 1 to its pe=8",
    ]
    assert refusal(tmp_path, f"{lanes}neurons = [1, 1]") == [
        f"{where}.neurons: 2 values for 3 spiking layers; give one per layer"
    ]
    assert refusal(tmp_path, f"{table}neurons = [1, 1, 1]") == [
        f"{where}.neurons: of the sums of how many pe? give pe and simd too, or leave it out"
    ]


def test_more_synapses_than_are_added_in_a_cycle(tmp_path):
    wide = "{ channels = 128 }, { channels = 128 }"
    assert refusal(tmp_path, "pe = [1, 1]\nsimd = [1, 64, 100]", wide) == []
    assert refusal(tmp_path, "pe = [1, 1]\nsimd = [1, 65, 101]", wide) == [
        "fold.simd[1]: layers[1]: simd=65 must be 1 to 64, the most that are added in a cycle",
        "fold.simd[2]: the read-out: simd=101 must be 1 to 100, the most that are added in a cycle",
    ]


def test_lanes_to_balance(tmp_path):
    assert refusal(tmp_path, "lanes = 13") == []
    assert refusal(tmp_path, "lanes = 12") == [
        "fold.lanes=12: at least 13, a lane for each of 3 layers and 10 classes; raise fold.lanes"
    ]
    assert refusal(tmp_path, "lanes = 1\npe = [1, 1, 1]\nsimd = [1, 1, 1, 1]") == []  # not asked for


def test_events_that_cannot_be_had(tmp_path):
    layers = "{ channels = 4, kernel = 3, padding = 2 }, { channels = 4, kernel = 9, padding = 4 }"
    for scheduler in ("auto", "list"):
        assert refusal(tmp_path, f'[fold.event]\nscheduler = "{scheduler}"', layers) == []
    against = [
        "fold.event.scheduler: layers[0]: padding=2 is more than half of the kernel 3x3; use auto or list",
        "fold.event.scheduler: layers[1]: a kernel of 9x9 has more than 64 positions; use auto or list",
    ]
    assert refusal(tmp_path, '[fold.event]\nscheduler = "event"', layers) == against
    assert refusal(tmp_path, '[fold.event]\nscheduler = ["auto", "event"]', layers) == against[1:]
    assert refusal(tmp_path, '[fold.event]\nscheduler = ["event"]', layers) == [
        "fold.event.scheduler: 1 values for 2 spiking layers; give one, or one a layer", *against[:1],
    ]  # fmt: skip
    whole = '{ channels = 4 }, { kind = "linear", channels = 4 }'  # of a map of 8 x 8
    assert refusal(tmp_path, '[fold.event]\nscheduler = "event"', whole) == []
    banks = "{ channels = 512 }, { channels = 4 }"
    given = 'scheduler = "event"\npe = [1, 1]\nsimd = [1, {}, 1]'
    assert refusal(tmp_path, "[fold.event]\n" + given.format(2), banks) == []
    assert refusal(tmp_path, "[fold.event]\n" + given.format(1), banks) == [
        "fold.event.scheduler: layers[1]: simd=1 banks of 512 input channels hold more than 256 channels each;"
        " use a simd of at least 2; use auto or list"
    ]


def test_a_read_out_that_cannot_walk_events(tmp_path):
    layers = "{ channels = 4 }, { channels = 512 }"
    given = '[fold.event]\npe = [1, 1]\nsimd = [1, 1, {}]\n{}'
    assert refusal(tmp_path, given.format(1, 'readout = "auto"'), layers) == []
    assert refusal(tmp_path, given.format(2, 'readout = "event"'), layers) == []
    assert refusal(tmp_path, given.format(1, 'readout = "event"'), layers) == [
        "fold.event.readout: simd=1 banks of 512 input channels hold more than 256 channels each;"
        " use a simd of at least 2; use auto or list"
    ]
    grouped = "groups = [[1, 1], [1, 1], [{}, {}]]"
    assert refusal(tmp_path, given.format(1, f'readout = "event"\n{grouped.format(1, 2)}'), layers) == []
    assert refusal(tmp_path, given.format(1, grouped.format(1, 1)), layers) == []
    assert refusal(tmp_path, given.format(1, grouped.format(1, 2)), layers) == [
        'fold.event.groups[2]: the read-out walks its list; say readout = "event", or leave it out'
    ]
    (wide,) = refusal(tmp_path, given.format(1, f'readout = "event"\n{grouped.format(1, 13)}'), layers)
    assert wide.startswith("fold.event.groups[2]: the read-out: group=[1, 13] of activations of 1 bits has patterns")


def test_logits_beyond_a_word(tmp_path):
    wide = "{ channels = 4096, kernel = 1, padding = 0 }"
    assert refusal(tmp_path, "", wide) == []
    folder = "dataset = 'folder'"
    path = tmp_path / "net.toml"
    path.write_text(
        f'name = "net"\n{folder}\ntime_steps = 16\nlayers = [{wide}]\n[train]\nepochs = 1\n[sca]\nkeep = 1\n'
        '[data]\npath = "x"\nshape = [1, 64, 64]\nclasses = 2\n'
    )
    with pytest.raises(ValueError, match=r"16 steps of 4096 channels of 4096 pixels .* 36 bits, and 32 go out"):
        load_network(path)


def test_what_shortcuts_join_has_one_pe_and_all_of_its_neurons(tmp_path):
    residual = "{ channels = 4 }, { channels = 4 }, { channels = 4, shortcut = -2 }, { channels = 8, shortcut = -1 }"
    assert refusal(tmp_path, "lanes = 14", residual) == [
        "fold.lanes=14: at least 15, a lane for each of 4 layers, 1 shortcuts and 10 classes; raise fold.lanes"
    ]
    lanes = "pe = [2, 1, {}, 4]\nsimd = [1, 2, 4, 4, 8]\n"
    assert refusal(tmp_path, lanes.format(2), residual, "cycles = 0.5") == []
    assert refusal(tmp_path, lanes.format(4), residual) == [
        "fold.pe: [2, 4] of layers [0, 2]: shortcuts add their currents; give all the same"
    ]
    found = refusal(tmp_path, lanes.format(2) + "neurons = [2, 1, 1, 4]", residual)
    assert [line[:60] for line in found] == ["fold.neurons[2]: layers[2]: neurons=1: a shortcut adds its c"]
    found = refusal(tmp_path, f"{lanes.format(2)}[fold.event]\n{lanes.format(1)}", residual)
    assert [line[:40] for line in found] == ["fold.event.pe: [2, 1] of layers [0, 2]: "]


def test_faulty_shortcuts_are_told_and_no_more(tmp_path):
    faults = "{ channels = 4, shortcut = -1 }, { channels = 4, kernel = 15, padding = 0, shortcut = -1 }"
    found = refusal(tmp_path, "lanes = 64", faults)
    assert any("shortcut=-1 points before the first layer" in line for line in found), found
