"""Network descriptions: what ships is valid; what is wrong is said all at once."""

from pathlib import Path

import pytest

from scaflow.model.config import load_network

CONFIGS = sorted((Path(__file__).parents[2] / "model" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_descriptions_load(path):
    assert load_network(path).name == path.stem


def test_what_ships():
    assert {"digits", "demo", "fashion", "mnist", "swift"} <= {path.stem for path in CONFIGS}


def test_all_problems_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("""
name = "bad"
dataset = "mnist"
time_steps = 4
layers = [
  { channels = 6, kernel = 3, padding = 3 },
  { kind = "linear", channels = 8, pool = 2 },
  { channels = 8 },
]
train = { epochs = 2 }
sca = { keep = 0.2, ramp = 0.9, freeze = 0.5, granularity = 4 }
fold = { pe = [1, 1] }
""")
    with pytest.raises(ValueError) as caught:
        load_network(path)
    text = str(caught.value)
    for part in (
        "layers[0]: padding=3 must be below kernel=3",
        "layers[0]: channels=6 is no multiple of sca.granularity=4",
        "layers[1]: pool=2 after a linear layer",
        "layers[2]: a convolution after a linear layer",
        "ramp=0.9 + freeze=0.5 must not exceed 1",
        "keep=0.2 of 22 channels is less than the 12 that floor=0.2 and granularity=4 protect",
        "fold.pe: 2 values for 3 spiking layers",
        "give both pe and simd",
    ):
        assert part in text
    assert "8 problem(s)" in text


def test_unknown_and_ill_typed_keys_are_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("""
name = "Bad name"
dataset = "cifar"
time_steps = 0
layers = [{ channels = 8, dilation = 2 }]
train = { epochs = 2, learning_rate = 0.1 }
sca = { keep = 1.5 }
""")
    with pytest.raises(ValueError) as caught:
        load_network(path)
    text = str(caught.value)
    for part in (
        "name:",
        "dataset:",
        "time_steps:",
        "layers.0.dilation:",
        "train.learning_rate:",
        "sca.keep:",
    ):
        assert part in text
    assert "6 problem(s)" in text


def test_missing_file_and_broken_toml(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        load_network(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(ValueError, match="not valid TOML"):
        load_network(tmp_path / "broken.toml")


def test_faults_of_fields_and_rules_between_sections_are_listed_together(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(
        'name = "net"\ndataset = "digits"\ntime_steps = 0\nlayers = [{ channels = 8, padding = 3 }]\n'
        "[train]\nepochs = 1\n[sca]\nkeep = 0.5\nramp = 0.9\nfreeze = 0.3\n"
    )
    with pytest.raises(ValueError) as refused:
        load_network(path)
    text = str(refused.value)
    assert "3 problem(s)" in text
    for start in ("time_steps: ", "layers[0]: padding=3", "sca: ramp=0.9"):
        assert f"\n  {start}" in text
