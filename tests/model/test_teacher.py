"""Soft targets: the loss by hand, the table against asking, and that the dense network is what is learnt from."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.special import log_softmax

from scaflow.model.config import AUGMENTS, AugmentConfig
from scaflow.model.data import load_dataset
from scaflow.model.network import SpikingNetwork
from scaflow.model.teacher import Teacher
from scaflow.model.train import train

QUIET = Console(file=io.StringIO())
IMAGES = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8))
CHOSEN = torch.tensor([4, 19, 0])


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_dataset("digits", tmp_path_factory.mktemp("data"))


@pytest.fixture
def net(describe):
    """One that spikes, and by what it sees."""
    torch.manual_seed(0)
    net = SpikingNetwork(describe())
    with torch.no_grad():
        for block in net.blocks:
            block.bn.bias.fill_(0.8)
            block.conv.weight *= 4
        net.readout.weight *= 10
    return net


def test_the_loss_is_the_divergence_at_the_temperature(net):
    teacher = Teacher(net, IMAGES, AUGMENTS["none"], 2.0)
    logits = torch.randn(3, 10, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        said = net(IMAGES[CHOSEN].float() / 255).double().numpy()
    wanted, found = log_softmax(said / 2, 1), log_softmax(logits.double().numpy() / 2, 1)
    by_hand = 4 * (np.exp(wanted) * (wanted - found)).sum(1).mean()
    assert by_hand > 0.1
    assert teacher.loss(logits, IMAGES[CHOSEN].float() / 255, CHOSEN).item() == pytest.approx(by_hand, rel=1e-5)


def test_augmented_images_are_asked_about_as_they_are(net):
    plain = Teacher(net, IMAGES, AUGMENTS["none"], 4.0)
    moving = Teacher(net, IMAGES, AugmentConfig(flip=True), 4.0)
    logits, mirrored = torch.zeros(3, 10), IMAGES[CHOSEN].flip(3).float() / 255
    assert moving.table is None
    expected = Teacher(net, IMAGES.flip(3), AUGMENTS["none"], 4.0).loss(logits, mirrored, CHOSEN).item()
    assert moving.loss(logits, mirrored, CHOSEN).item() == pytest.approx(expected, rel=1e-5)
    assert plain.loss(logits, mirrored, CHOSEN).item() != pytest.approx(expected, rel=1e-3)


def test_with_soft_targets_alone_labels_do_not_matter(describe, digits, tmp_path):
    dense = train(describe(), digits, tmp_path / "dense", prune=False, console=QUIET)
    turned = replace(digits, train_labels=(digits.train_labels + 1) % 10)
    weights = {}
    for soft in (0.0, 1.0):
        for data in (digits, turned):
            cfg = describe(sca={"soft": soft}, train={"epochs": 2})  # only the last may be chosen, by labels
            path = train(cfg, data, tmp_path / "run", prune=True, teacher=dense, console=QUIET)
            weights[soft, data is turned] = torch.load(path)["network"]["readout.weight"]
    assert not torch.equal(weights[0.0, False], weights[0.0, True])
    assert torch.equal(weights[1.0, False], weights[1.0, True])


def test_no_teacher_is_an_error(describe, digits, tmp_path):
    with pytest.raises(ValueError, match=r"sca\.soft=0\.5: the dense network's answers are wanted; train it first"):
        train(describe(sca={"soft": 0.5}), digits, tmp_path / "run", prune=True, console=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_images_is_refused(describe, digits, tmp_path):
    other = train(describe(train={"epochs": 1}), digits, tmp_path, prune=False, console=QUIET)
    content = torch.load(other)
    content["config"]["dataset"] = "mnist"
    torch.save(content, other)
    with pytest.raises(ValueError, match=r"model.pt: soft targets of images and classes \(\(1, 28, 28\), 10\), where"):
        train(describe(sca={"soft": 0.5}), digits, tmp_path / "run", prune=True, teacher=other, console=QUIET)
