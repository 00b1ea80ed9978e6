"""Network descriptions: what ships is valid; what is wrong is said all at once."""

from pathlib import Path

import pytest

from scaflow.model.config import AugmentConfig, FoldConfig, NetworkConfig, NeuronConfig, load_network

CONFIGS = sorted((Path(__file__).parents[2] / "model" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_descriptions_load(path):
    assert load_network(path).name == path.stem


def test_what_ships():
    shipped = {"digits", "demo", "fashion", "mnist", "swift", "cifar", "vgg16", "resnet18"}
    assert shipped <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize(
    ("sca", "criterion"),
    [("keep = 0.5", "sca"), ("cycles = 0.5", "weight"), ("cycles = 0.5, criterion = \"sca\"", "sca")],
)
def test_the_criterion_follows_the_budget_where_none_is_named(tmp_path, sca, criterion):
    path = tmp_path / "net.toml"
    path.write_text(f"""
name = "net"
dataset = "mnist"
time_steps = 4
layers = [{{ channels = 8 }}]
train = {{ epochs = 2 }}
sca = {{ {sca} }}
""")
    network = load_network(path)
    assert network.sca.criterion == criterion
    assert type(network).model_validate(network.model_dump(mode="json")) == network


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
dataset = "svhn"
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


@pytest.mark.parametrize("axi_bytes", [0, 17])
def test_a_beat_of_no_or_too_many_bytes_is_refused(tmp_path, axi_bytes):
    path = tmp_path / "net.toml"
    path.write_text(
        'name = "net"\ndataset = "digits"\ntime_steps = 1\nlayers = [{ channels = 8 }]\n'
        f"[train]\nepochs = 1\n[sca]\nkeep = 0.5\n[fold]\naxi_bytes = {axi_bytes}\n"
    )
    with pytest.raises(ValueError) as refused:
        load_network(path)
    assert str(refused.value) == (
        f"{path}: 1 problem(s)\n  fold.axi_bytes: an input beat has 1 to 16 bytes; give a width among these, or leave"
        f" it out for 4 (value {axi_bytes})"
    )


def test_the_usual_width_of_a_beat_is_not_dumped():
    """What was made before there was the field stays what it is."""
    assert "axi_bytes" not in FoldConfig(axi_bytes=4).model_dump(mode="json")
    assert FoldConfig(axi_bytes=5).model_dump(mode="json")["axi_bytes"] == 5


def test_every_description_survives_its_own_dump():
    """Checkpoints and stamps hold dumps; what a network does not use is not in them."""
    for path in CONFIGS:
        cfg = load_network(path)
        dump = cfg.model_dump(mode="json")
        assert NetworkConfig.model_validate(dump) == cfg
        assert ("data" in dump) == (cfg.dataset == "folder")
        assert ("readout" in dump) == (path.stem == "resnet18")


@pytest.mark.parametrize(
    ("given", "crop", "flip", "dumped"),
    [
        ("none", 0, False, "none"),
        ("shift", 2, False, "shift"),
        ("shift-flip", 2, True, "shift-flip"),
        ({"crop": 4, "flip": True}, 4, True, {"crop": 4, "flip": True}),
        ({"crop": 2}, 2, False, "shift"),
    ],
)
def test_augmentation(describe, given, crop, flip, dumped):
    train = describe().train.model_dump() | {"augment": given}
    cfg = type(describe().train).model_validate(train)
    assert cfg.augment == AugmentConfig(crop=crop, flip=flip)
    assert cfg.model_dump()["augment"] == dumped


def test_faults_of_data_augmentation_and_shortcuts(tmp_path):
    path = tmp_path / "net.toml"
    head = 'name = "net"\ntime_steps = 1\n'
    tail = "[sca]\nkeep = 0.5\n"

    def refusal(layers: str, train: str, dataset: str = 'dataset = "digits"', data: str = "") -> str:
        path.write_text(f"{head}{dataset}\nlayers = [{layers}]\n{data}\n[train]\nepochs = 1\n{train}\n{tail}")
        with pytest.raises(ValueError) as refused:
            load_network(path)
        return str(refused.value)

    layer = "{ channels = 8 }"
    assert "train.augment: use one of none, shift, shift-flip, or a table" in refusal(layer, 'augment = "crop"')
    assert "train.augment.crop: " in refusal(layer, "augment = { crop = 99 }")
    assert "data: the section is missing; give it exactly with" in refusal(layer, "", 'dataset = "folder"')
    given = '[data]\npath = "x"\nshape = [2, 8, 8]\nclasses = 3'
    assert "data: the section is for dataset = \"folder\", not 'digits'" in refusal(layer, "", data=given)
    assert "data.shape: 2 channels; images have 1 (grey) or 3" in refusal(layer, "", 'dataset = "folder"', given)
    given = '[data]\npath = "x"\nshape = [3, 8]\nclasses = 1'
    text = refusal(layer, "", 'dataset = "folder"', given)
    assert "data.shape" in text
    assert "data.classes: " in text

    text = refusal(
        "{ channels = 8 }, { channels = 4, shortcut = -2 }, { channels = 8, padding = 0, shortcut = -1 }, "
        "{ kind = 'linear', channels = 4, shortcut = -1 }",
        "",
    )
    assert "3 problem(s)" in text
    assert "layers[1]: shortcut=-2 points before the first layer; there are 1 before it" in text
    assert "layers[2]: shortcut=-1: no stride takes its map [8, 8] to this layer's [6, 6]" in text
    assert "layers[3]: shortcut=-1 of a linear layer" in text
    assert "layers.0.shortcut: " in refusal("{ channels = 8, shortcut = 1 }", "")


def test_input_and_classes_follow_the_data(describe):
    cfg = describe(dataset="folder", data={"path": "x", "shape": [3, 20, 30], "classes": 7})
    assert (cfg.input_shape, cfg.classes) == ((3, 20, 30), 7)
    assert (describe(dataset="cifar10").input_shape, describe().classes) == ((3, 32, 32), 10)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark_is_no_fault(tmp_path, mark, end):
    path = tmp_path / "digits.toml"
    text = next(path for path in CONFIGS if path.stem == "digits").read_bytes()
    path.write_bytes(mark + text.replace(b"\n", end))
    assert load_network(path).name == "digits"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name = 'x'".encode("utf-16"), "its text is UTF-16 or UTF-32; save it as UTF-8"),
        ("name = 'x'".encode("utf-16-be"), "UTF-16"),
        (b"a = 1\nname = '\xe9'\n", "byte 0xe9 .at line 2, column 9. is no UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"1" * 5000, "not valid TOML: Exceeds the limit"),
    ],
)
def test_a_text_that_is_no_toml_says_why(tmp_path, content, words):
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(ValueError, match=f"bad.toml: not valid TOML: .*{words}" if "not valid" not in words else words):
        load_network(tmp_path / "bad.toml")


def test_a_folder_is_no_toml(tmp_path):
    with pytest.raises(ValueError, match="Is a directory; give the path of a network TOML"):
        load_network(tmp_path)


def test_the_bits_of_a_pixel():
    """A dump has them where they are not eight: what was trained without the word stays what it is."""
    described = {
        "name": "net", "dataset": "mnist", "time_steps": 1, "layers": [{"channels": 8}], "train": {"epochs": 1},
        "sca": {"keep": 1.0},
    }  # fmt: skip
    plain = NetworkConfig.model_validate(described)
    assert plain.quant.pixel_bits == 8 and "pixel_bits" not in plain.model_dump()["quant"]
    two = NetworkConfig.model_validate(described | {"quant": {"pixel_bits": 2}})
    assert NetworkConfig.model_validate(two.model_dump(mode="json")).quant.pixel_bits == 2
    for bits in (0, 9):
        with pytest.raises(ValueError, match=r"quant\.pixel_bits"):
            NetworkConfig.model_validate(described | {"quant": {"pixel_bits": bits}})


@pytest.mark.parametrize(
    ("given", "decay", "keep"),
    [
        (0.9, (115, 7), 115 / 128),  # 230/256
        (0.95, (243, 8), 243 / 256),
        (0.05, (205, 12), 205 / 4096),
        (0.5, (1, 1), 0.5),
        (0, (0, 0), 0.0),
        (0.995, (255, 8), 255 / 256),
        ([230, 8], (230, 8), 230 / 256),
    ],
)
def test_a_decay_is_a_fraction_of_few_bits(given, decay, keep):
    neuron = NeuronConfig.model_validate({"decay": given})
    assert (neuron.decay, neuron.leak_shift, neuron.keep) == (decay, 0, keep)
    assert NeuronConfig.model_validate(neuron.model_dump(mode="json")) == neuron


def test_the_usual_neuron_is_dumped_as_ever():
    dumped = {"leak_shift": 1, "reset": "hard", "surrogate": "sigmoid", "slope": 4.0}
    assert NeuronConfig().model_dump(mode="json") == dumped


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"decay": 1.0}, "a step leaves 1.0 of a membrane; give 0 to 255/256 of it, or leak_shift = 0 for all"),
        ({"decay": 0.9999}, "a step leaves 0.9999 of a membrane"),
        ({"decay": -0.5}, "a step leaves -0.5 of a membrane"),
        ({"decay": [9, 3]}, r"decay=\[9, 3\] must be \[D, K\]"),
        ({"decay": "0.9"}, "give the part of a membrane that a step leaves, as 0.9, or"),
        ({"decay": 0.9, "leak_shift": 1}, "leak_shift=1 and decay are two leaks; leave one of them out"),
        ({"v_reset": -0.5, "reset": "soft"}, "with reset='soft' leave it out"),
        ({"v_reset": 1.0}, "less than 1"),
    ],
)
def test_neurons_that_are_none(given, words):
    with pytest.raises(ValueError, match=words):
        NeuronConfig.model_validate(given)
