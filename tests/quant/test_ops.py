"""The LIF node: the numpy operator qonnx runs and the torch operator are the same neuron."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scaflow.quant.ops import lif as numpy_lif
from scaflow.quant.ops.torch import lif as torch_lif


@pytest.mark.parametrize("shape", [(12, 5, 3, 2), (12, 5)])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("leak_shift", [0, 1, 3])
@pytest.mark.parametrize("integer", [False, True])
def test_numpy_and_torch_agree(shape, reset, leak_shift, integer):
    rng = np.random.default_rng(0)
    current = rng.normal(0.3, 0.6, shape).astype(np.float32)
    threshold = rng.uniform(0.5, 1.5, 5).astype(np.float32)
    step = rng.uniform(0.05, 0.2, 5).astype(np.float32) if integer else None
    fields = {"time_steps": 4, "leak_shift": leak_shift, "reset": reset, "fraction_bits": 2 * integer}
    ours = numpy_lif(current, threshold, step, **fields, kept=[0, 2, 3])
    tensors = [torch.from_numpy(x) if x is not None else None for x in (current, threshold, step)]
    theirs = torch_lif(*tensors, **fields, kept=(0, 2, 3))
    np.testing.assert_array_equal(ours, theirs.numpy())
    assert 0.1 < ours[:, [0, 2, 3]].mean() < 0.9
    assert not ours[:, [1, 4]].any()


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize(
    ("back", "fields"),
    [
        (None, {"decay": (230, 8), "reset": "soft"}),
        (-0.3, {"decay": (5, 3), "reset": "hard"}),
        ((0.2, -0.4, 0.1, 0.0, 0.3), {"leak_shift": 1, "reset": "hard"}),
        (None, {"decay": (7, 3), "reset": "delayed"}),
        (None, {"leak_shift": 2, "reset": "delayed"}),
    ],
)
def test_numpy_and_torch_agree_on_every_neuron(back, fields, integer):
    """And differ from the neuron without that."""
    rng = np.random.default_rng(1)
    current = rng.normal(0.3, 0.6, (40, 5, 3)).astype(np.float32)
    threshold = rng.uniform(0.5, 1.5, 5).astype(np.float32)
    step = np.float32(2.0**-6) if integer else None
    fields = {"time_steps": 8, "leak_shift": 0, **fields, "fraction_bits": 3 * integer}
    back = None if back is None else np.float32(back)
    ours = numpy_lif(current, threshold, step, back, **fields)
    tensors = [None if x is None else torch.as_tensor(x) for x in (current, threshold, step, back)]
    np.testing.assert_array_equal(ours, torch_lif(*tensors, **fields).numpy())
    plain = {"reset": "soft" if fields["reset"] == "delayed" else fields["reset"], "decay": (1, 0)}
    changed = back is not None or fields["reset"] == "delayed"
    without = {**fields, "reset": plain["reset"]} if changed else {**fields, **plain}
    assert (numpy_lif(current, threshold, step, **without) != ours).any()


def test_real_membrane_by_hand():
    """u = 0.6, 0.6 - 0.3 + 0.6 = 0.9, 0.45 + 0.6 = 1.05*, then from 0 (hard) or from 0.05 (soft)."""
    current = np.full((5, 1), 0.6)
    fields = {"time_steps": 5, "leak_shift": 1}
    assert numpy_lif(current, np.array(1.0), reset="hard", **fields).ravel().tolist() == [0, 0, 1, 0, 0]
    assert numpy_lif(current, np.array(0.61), reset="soft", **fields).ravel().tolist() == [0, 1, 1, 1, 1]


def test_integer_membrane_floors_its_leak():
    """On the grid 1/2: -5 and 7.5 are -10 and 15; -10 - (-10 >>> 2) = -7, u = 8, the threshold 4."""
    current = np.array([[-5.0], [7.5]])
    fields = {"time_steps": 2, "leak_shift": 2, "reset": "hard", "fraction_bits": 1}
    for threshold, spike in ((4.0, 1), (4.5, 0)):
        spikes = numpy_lif(current, np.array(threshold), np.array(1.0), **fields)
        assert spikes.ravel().tolist() == [0, spike]


def test_the_torch_operator_trains():
    current = torch.full((4, 3), 0.4, requires_grad=True)
    torch_lif(current, torch.tensor(1.0), time_steps=4, leak_shift=1).sum().backward()
    assert (current.grad > 0).all()
