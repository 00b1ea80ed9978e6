"""The reference networks of docs/reference give the accuracy that is said of them, on the whole test set."""

from pathlib import Path

import pytest

from scaflow.model.data import load_dataset
from scaflow.model.fetch import fetch
from scaflow.quant.graph import execute, load, validate

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference" / "fashion"


@pytest.fixture(scope="module")
def test_set():
    try:
        fetch("fashion-mnist", ROOT / "data", print)
    except ValueError as error:
        pytest.skip(f"Fashion-MNIST cannot be obtained here: {error}")
    data = load_dataset("fashion-mnist", ROOT / "data")
    return data.test_images, data.test_labels


@pytest.mark.parametrize(("name", "correct", "kept"), [("dense", 9196, 208), ("pruned", 9103, 104)])
def test_accuracy(name, correct, kept, test_set):
    graph = validate(load(REFERENCE / name))
    assert sum(len(node.kept) for node in graph.nodes if hasattr(node, "kept")) == kept
    images, labels = test_set
    assert int((execute(graph, images).argmax(1) == labels).sum()) == correct
