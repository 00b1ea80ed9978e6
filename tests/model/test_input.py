"""[input]: what of it can be, and what it makes of the network's shapes and steps."""

import pytest

from scaflow.model.config import load_network
from scaflow.model.events.binning import Binning

FRAMES = {"kind": "frames", "bin_us": 30_000, "frames": 11}


def recordings(describe, **changes):
    return describe(**{"dataset": "nmnist", "input": FRAMES, "time_steps": 1} | changes)


def test_frames_are_steps_and_have_the_binnings_shape(describe):
    cfg = recordings(describe, input=FRAMES | {"bits": 3, "crop": [2, 4, 28, 24], "polarity": "joined"})
    assert (cfg.frames, cfg.steps, cfg.time_steps, cfg.pixel_bits) == (11, 11, 1, 3)
    assert (cfg.input.order, cfg.input_shape) == ("time", (1, 24, 28))
    assert cfg.input.binning == Binning(bin_us=30_000, bits=3, crop=(2, 4, 28, 24), polarity="joined")
    assert recordings(describe).input_shape == (2, 34, 34)


def test_a_set_number_of_bins_is_the_number_of_frames(describe):
    cfg = recordings(describe, input={"kind": "frames", "bins": 9})
    assert (cfg.frames, cfg.input.binning.bins) == (9, 9)


def test_images_are_as_before(describe):
    cfg = describe()
    assert (cfg.frames, cfg.steps, cfg.pixel_bits) == (0, 3, 8)
    assert "input" not in cfg.model_dump(mode="json")  # what was trained before stays what it is


def test_a_description_survives_its_dump(describe):
    cfg = recordings(describe, input=FRAMES | {"crop": [0, 0, 30, 30], "denoise_us": 5000})
    assert type(cfg).model_validate(cfg.model_dump(mode="json")) == cfg


def test_steps_are_left_out_in_a_file(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text("""
name = "net"
dataset = "nmnist"
layers = [{ channels = 8 }]
input = { kind = "frames", bins = 4 }
train = { epochs = 2 }
sca = { keep = 0.5 }
""")
    assert load_network(path).time_steps == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "images", "bin_us": 5}, 'bin_us is of kind = "frames"'),
        ({"kind": "images", "order": "time"}, 'order=\'time\' is of kind = "frames"'),
        (FRAMES | {"order": "pixel"}, "frames come one after the other"),
        (FRAMES | {"bins": 4}, "bin_us=30000 and bins=4: give exactly one"),
        ({"kind": "frames", "frames": 3}, "bin_us=None and bins=None: give exactly one"),
        ({"kind": "frames", "bin_us": 10}, "frames is missing"),
        ({"kind": "frames", "bins": 4, "frames": 5}, "frames=5 and bins=4 differ"),
        (FRAMES | {"bits": 9}, "input.bits"),
        (FRAMES | {"crop": [10, 0, 28, 28]}, "input.crop=[10, 0, 28, 28] reaches beyond 34 columns and 34 rows"),
    ],
)
def test_what_cannot_be_is_told(describe, given, said):
    with pytest.raises(ValueError) as caught:
        recordings(describe, input=given)
    assert said in str(caught.value)


def test_all_that_is_of_images_is_told_at_once(describe):
    folder = {"path": "x", "shape": [1, 20, 20], "classes": 3, "resize": True}
    layers = [{"channels": 4}, {"channels": 4, "shortcut": -1}]
    with pytest.raises(ValueError) as caught:
        recordings(
            describe, dataset="folder", data=folder, layers=layers, time_steps=4, quant={"pixel_bits": 3}
        )
    for part in ("time_steps=4", "quant.pixel_bits=3", "shortcuts are", "data.resize", "data.shape: 1 channel"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match="mnist has images"):
        recordings(describe, dataset="mnist")
    with pytest.raises(ValueError, match="nmnist has recordings"):
        describe(dataset="nmnist")
