"""The fused operation against the modules it stands for, run in float64."""

import os
import shlex
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from scaflow.model import fused
from scaflow.model.config import NeuronConfig
from scaflow.model.network import SpikingNetwork
from scaflow.model.neurons import MultiStepNeuron

STEPS, IMAGES = 4, 3
MODES = [
    (leak, reset, kind, constant)
    for leak in (0, 1, 8)
    for reset in ("hard", "soft")
    for kind in ("sigmoid", "arctan")
    for constant in (False, True)
]
TOLERANCE = {torch.float32: 5e-5, torch.bfloat16: 2.0**-7}  # of the largest gradient; rounded twice to 2^-9


@pytest.fixture(autouse=True)
def _compiled():
    assert fused.available(torch.zeros(2, 1, 1, 1)), "no compiler: the operation cannot be tested"


def plain(z, scale, bn, mask, neuron, constant, pool):
    """The block's law in float64, by autograd but for the neuron (tests/model/test_neurons.py): (spikes, activity)."""
    y = bn(z * scale.view(-1, 1, 1))
    m = mask.double().view(-1, 1, 1)
    y = m * y + (1 - m) * (y - y.detach())
    module = MultiStepNeuron(neuron, STEPS)
    module.record = True
    spikes = module(y, constant=constant)
    return (functional.max_pool2d(spikes, pool) if pool > 1 else spikes), module.activity


def case(channels, constant, dtype, height=7, width=8):
    torch.manual_seed(channels)
    rows = IMAGES if constant else STEPS * IMAGES
    z = (torch.randn(rows, channels, height, width) * 3 + torch.randn(channels, 1, 1)).to(dtype)
    bn = nn.BatchNorm2d(channels, eps=0.01)  # large, so that the scale's gradient is not all rounding
    nn.init.uniform_(bn.weight, -1, 1.5)
    bn.weight.data[-1] = 1.0
    nn.init.uniform_(bn.bias, -0.4, 0.4)
    mask = torch.rand(channels) < 0.7
    mask[0], mask[-1] = False, True
    scale = torch.rand(channels) / 2 + 0.05
    return z.contiguous(memory_format=torch.channels_last), bn, mask, scale


def compare(channels, neuron, constant, pool, dtype):
    z, bn, mask, scale = case(channels, constant, dtype)
    exact = nn.BatchNorm2d(channels, eps=bn.eps).double()
    exact.load_state_dict(bn.state_dict())
    inputs = [z.double().requires_grad_(), scale.double().requires_grad_(), exact.weight, exact.bias]
    want, want_activity = plain(inputs[0], inputs[1], exact, mask, neuron, constant, pool)
    z.requires_grad_(), scale.requires_grad_()
    got, activity = fused.fire(
        z, bn, mask, neuron, STEPS, scale=scale, constant=constant, pool=pool, record=True
    )
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert 0.02 < want.mean() < 0.98
    assert torch.equal(got.double(), want)
    torch.testing.assert_close(activity.double(), want_activity.double(), rtol=1e-5, atol=1e-6)
    for name, buffer in bn.named_buffers():
        torch.testing.assert_close(buffer.double(), exact.get_buffer(name).double(), rtol=1e-6, atol=1e-6)

    upstream = torch.randn_like(want).to(dtype)
    got_grads = torch.autograd.grad(got, (z, scale, bn.weight, bn.bias), upstream)
    for got_grad, want_grad in zip(got_grads, torch.autograd.grad(want, inputs, upstream.double()), strict=True):
        assert want_grad.abs().max() > 0
        error = (got_grad.double() - want_grad).abs().max() / want_grad.abs().max()
        assert error < TOLERANCE[got_grad.dtype], (tuple(got_grad.shape), float(error))


@pytest.mark.parametrize(("leak", "reset", "kind", "constant"), MODES)
def test_equals_the_modules_in_every_mode(leak, reset, kind, constant):
    neuron = NeuronConfig(leak_shift=leak, reset=reset, surrogate=kind, slope=3.0)
    compare(16, neuron, constant, 1, torch.float32)
    compare(16, neuron, constant, 2, torch.bfloat16)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(
    "neuron",
    [{"decay": 0.9}, {"v_reset": -0.7, "leak_shift": 2}, {"reset": "delayed", "decay": 0.8}, {"reset": "delayed"}],
)
def test_equals_the_modules_of_every_neuron(neuron, constant):
    neuron = NeuronConfig.model_validate(neuron)
    compare(16, neuron, constant, 1, torch.float32)
    compare(9, neuron, constant, 2, torch.bfloat16)


@pytest.mark.parametrize("channels", [1, 7, 33])
@pytest.mark.parametrize("pool", [1, 2, 3])  # 7 x 8 pixels: both leave a remainder
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_width_pool_and_type(channels, pool, dtype):
    compare(channels, NeuronConfig(), False, pool, dtype)
    compare(channels, NeuronConfig(reset="soft"), True, pool, dtype)


def test_a_linear_layer_is_one_pixel():
    z, bn, mask, _ = case(10, False, torch.float32, 1, 1)
    exact = nn.BatchNorm2d(10, eps=bn.eps).double()
    exact.load_state_dict(bn.state_dict())
    want, _ = plain(z.double(), torch.ones(10), exact, mask, NeuronConfig(), False, 1)
    assert torch.equal(fused.fire(z, bn, mask, NeuronConfig(), STEPS)[0].double(), want)


def test_moments_of_a_map_far_from_zero():
    """Sums of squares around zero would lose all of the variance."""
    z = (torch.randn(64, 3, 9, 9) * 1e-2 + 100).contiguous(memory_format=torch.channels_last)
    bn = nn.BatchNorm2d(3, momentum=1.0)
    fused.fire(z, bn, torch.ones(3, dtype=torch.bool), NeuronConfig(), STEPS)
    torch.testing.assert_close(bn.running_var, z.double().var((0, 2, 3)).float(), rtol=1e-4, atol=0)


def test_the_result_does_not_depend_on_the_threads():
    def run():
        z, bn, mask, scale = case(24, False, torch.bfloat16)
        z.requires_grad_()
        spikes, activity = fused.fire(z, bn, mask, NeuronConfig(), STEPS, scale=scale, record=True, pool=2)
        grads = torch.autograd.grad(spikes, (z, bn.weight, bn.bias), torch.randn_like(spikes))
        return spikes, activity, bn.running_var, *grads

    once = run()
    torch.set_num_threads(3)
    assert all(map(torch.equal, once, run()))


def test_network_trains_through_it(describe, monkeypatch):
    """A whole network's loss gradient, with it and without; the memory layout is the network's affair."""
    x, target = torch.rand(8, 1, 8, 8), torch.arange(8) % 10

    def gradients():
        torch.manual_seed(3)
        net = SpikingNetwork(describe()).train()
        net.blocks[1].mask[2] = False
        for block in net.blocks:
            block.neuron.record = True
        functional.cross_entropy(net(x), target).backward()
        return [p.grad for p in net.parameters()], [block.neuron.activity for block in net.blocks]

    calls = []
    count = fused.fire
    monkeypatch.setattr(fused, "fire", lambda *args, **kwargs: calls.append(1) or count(*args, **kwargs))
    got, got_activity = gradients()
    assert len(calls) == 2
    monkeypatch.setattr(fused, "_library", lambda: None)
    want, want_activity = gradients()
    assert len(calls) == 2
    for a, b in zip((*got, *got_activity), (*want, *want_activity), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_without_a_compiler_it_is_said_once_and_training_goes_on(tmp_path):
    code = (
        "import torch, warnings\n"
        "from scaflow.model import fused\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    print([fused.available(torch.zeros(2, 4, 8, 8)) for _ in range(2)], len(caught), caught[0].message)\n"
    )
    environment = {"PATH": str(tmp_path), "SCAFLOW_BUILD": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert result.stdout.startswith("[False, False] 1 training runs in plain torch")


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """$CXX is a compiler that fails; nothing is compiled yet."""
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'no such instruction' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", f"{compiler} -m64")
    monkeypatch.setenv("SCAFLOW_BUILD", str(tmp_path / "build"))
    return compiler


def test_a_compiler_that_fails_is_reported_with_its_words(failing, monkeypatch):
    monkeypatch.setenv("PATH", "/none")
    with pytest.warns(UserWarning, match=r"training runs in plain torch.* -m64: no such instruction"):
        assert fused._library.__wrapped__() is None


def test_another_compiler_does_it_which_is_said(failing, monkeypatch):
    (failing.parent / "g++").write_text(f'#!/bin/sh\nexec {shutil.which("g++")} "$@" -O0\n')
    (failing.parent / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", f"{failing.parent}:{os.environ['PATH']}")
    with pytest.warns(UserWarning, match=r"is compiled by .*/g\+\+, not by .*c\+\+ -m64: no such instruction"):
        assert fused._library.__wrapped__() is not None


def test_a_compiler_with_options_behind_a_launcher_in_an_odd_folder(tmp_path, monkeypatch):
    odd = tmp_path / """My $HOME & #1 "a" 'b' (c); ü"""
    odd.mkdir()
    (odd / "launcher").write_text('#!/bin/sh\nexec "$@"\n')
    (odd / "launcher").chmod(0o755)
    monkeypatch.setenv("CXX", f"{shlex.quote(str(odd / 'launcher'))} g++ -m64 -O0")
    monkeypatch.setenv("SCAFLOW_BUILD", str(odd / "build"))
    monkeypatch.setattr(fused, "_FLAGS", tuple("-O0" if flag == "-O3" else flag for flag in fused._FLAGS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fused._library.__wrapped__() is not None
    assert len(list((odd / "build/fused").glob("*.so"))) == 1
