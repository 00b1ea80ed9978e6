"""The neuron against its law written down by hand, and its gradient against plain autograd."""

import math

import pytest
import torch

from scaflow.model.config import NeuronConfig
from scaflow.model.neurons import MultiStepNeuron, lif_step

MODES = [
    (leak, reset, kind) for leak in (0, 1, 3) for reset in ("hard", "soft") for kind in ("sigmoid", "arctan")
]


def plain(current: torch.Tensor, cfg: NeuronConfig) -> torch.Tensor:
    """[T, N, C, H, W] -> spikes, step by step, differentiated by autograd.

    The surrogate comes in as its primitive S: s = H(u) + S(u) - stop(S(u)).
    """
    v = torch.zeros_like(current[0])
    spikes = []
    for i in current:
        u = v * (1 - 2.0**-cfg.leak_shift if cfg.leak_shift else 1.0) + i
        if cfg.surrogate == "sigmoid":
            soft = torch.sigmoid(cfg.slope * (u - 1))
        else:
            soft = torch.arctan(math.pi / 2 * cfg.slope * (u - 1)) / math.pi
        s = (u >= 1).to(u.dtype) + soft - soft.detach()
        v = u * (1 - s.detach()) if cfg.reset == "hard" else u - s.detach()
        spikes.append(s)
    return torch.stack(spikes)


@pytest.mark.parametrize(("leak", "reset", "kind"), MODES)
def test_spikes_and_gradient_equal_plain_autograd(leak, reset, kind):
    cfg = NeuronConfig(leak_shift=leak, reset=reset, surrogate=kind, slope=3.0)
    torch.manual_seed(leak)
    current = (torch.randn(5, 2, 3, 4, 4, dtype=torch.float64) + 0.4).requires_grad_()
    want = plain(current, cfg)
    upstream = torch.randn_like(want)
    (want_grad,) = torch.autograd.grad(want, current, upstream)
    for layout in (torch.contiguous_format, torch.channels_last):
        rows = current.detach().flatten(0, 1).contiguous(memory_format=layout).requires_grad_()
        got = MultiStepNeuron(cfg, 5)(rows)
        (got_grad,) = torch.autograd.grad(got, rows, upstream.flatten(0, 1))
        assert 0.1 < got.mean() < 0.9
        assert torch.equal(got, want.detach().round().flatten(0, 1))
        torch.testing.assert_close(got_grad, want_grad.flatten(0, 1), rtol=1e-12, atol=1e-14)


def test_constant_current_equals_repeated_current():
    neuron = MultiStepNeuron(NeuronConfig(), 4)
    once = (torch.randn(2, 3, 5, 5, dtype=torch.float64) + 0.5).requires_grad_()
    repeated = once.repeat(4, 1, 1, 1)
    upstream = torch.randn(8, 3, 5, 5, dtype=torch.float64)
    short, long = neuron(once, constant=True), neuron(repeated)
    assert torch.equal(short, long)
    grads = [torch.autograd.grad(spikes, once, upstream)[0] for spikes in (short, long)]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-14)


def test_lif_step_follows_the_law():
    v, current = torch.tensor([0.5, 0.5, -0.5]), torch.tensor([0.75, 0.74, 0.0])
    half = NeuronConfig(leak_shift=1, reset="hard")
    spikes, after = lif_step(v / 2, current, half)
    assert spikes.tolist() == [1.0, 0.0, 0.0]  # 0.5 - 0.25 + 0.75 is just the threshold
    torch.testing.assert_close(after, torch.tensor([0.0, 0.99, -0.25]) / 2)
    spikes, after = lif_step(v, torch.tensor([1.0, 0.25, 0.0]), NeuronConfig(leak_shift=0, reset="soft"))
    assert spikes.tolist() == [1.0, 0.0, 0.0]
    torch.testing.assert_close(after, torch.tensor([0.5, 0.75, -0.5]))


def test_the_threshold_is_inclusive():
    current = torch.tensor([1.0, 1.0, 0.5, 0.75]).view(4, 1, 1, 1)
    assert MultiStepNeuron(NeuronConfig(), 4)(current).flatten().tolist() == [1, 1, 0, 1]


OTHERS = [  # than a hard or soft reset to 0, and a leak by a shift
    {"decay": 0.9}, {"decay": [3, 4], "reset": "soft"}, {"decay": 0, "reset": "soft"},
    {"v_reset": -0.7, "leak_shift": 0}, {"v_reset": 0.4, "decay": 0.7},
    {"reset": "delayed", "leak_shift": 2}, {"reset": "delayed", "decay": 0.85},
]  # fmt: skip
ALL = [*({"leak_shift": 2, "reset": reset} for reset in ("hard", "soft")), *OTHERS]


@pytest.mark.parametrize("neuron", ALL)
def test_the_module_repeats_the_step(neuron):
    cfg = NeuronConfig.model_validate(neuron)
    current = torch.randn(6, 2, 3, 4, 4) + 0.4
    got = MultiStepNeuron(cfg, 6)(current.flatten(0, 1)).view(current.shape)
    left = torch.zeros_like(current[0])
    for t in range(6):
        want, left = lif_step(left, current[t], cfg)
        assert torch.equal(got[t], want)


@pytest.mark.parametrize("neuron", [{"reset": "hard"}, {"reset": "soft"}, *OTHERS])
def test_activity_is_the_mean_of_spikes_and_membranes(neuron):
    cfg = NeuronConfig.model_validate(neuron)
    current = torch.randn(4, 2, 3, 5, 5, dtype=torch.float64) + 0.4
    neuron = MultiStepNeuron(cfg, 4)
    neuron(current.flatten(0, 1))
    assert neuron.activity is None
    neuron.record = True
    neuron(current.flatten(0, 1))
    left, terms = torch.zeros_like(current[0]), []
    for t in range(4):
        u = left + current[t]
        s, left = lif_step(left, current[t], cfg)
        terms.append(s + torch.where(s > 0, cfg.v_reset if cfg.reset == "hard" else u - 1, u).abs())
    torch.testing.assert_close(neuron.activity, torch.stack(terms).mean((0, 1, 3, 4)).float())


def test_other_neurons_by_hand():
    """Of a membrane of 1.5 that fires: 3/4 of 0.25; 3/4 of 0.5; 3/4 of 1.5, less 1; and of 0.5 that does not: 3/8."""
    for given, left in (({"v_reset": 0.25}, 0.1875), ({"reset": "soft"}, 0.375), ({"reset": "delayed"}, 0.125)):
        cfg = NeuronConfig.model_validate({"decay": 0.75, **given})
        assert (cfg.decay, cfg.leak_shift, cfg.keep) == ((3, 2), 0, 0.75)
        spikes, after = lif_step(torch.tensor([1.0, 0.25]), torch.tensor([0.5, 0.25]), cfg)
        assert spikes.tolist() == [1, 0]
        assert after.tolist() == [left, 0.375]


@pytest.mark.parametrize("neuron", OTHERS)
def test_gradients_of_the_others_equal_plain_autograd(neuron):
    cfg = NeuronConfig.model_validate(neuron)
    torch.manual_seed(1)
    current = (torch.randn(5, 2, 3, 4, 4, dtype=torch.float64) + 0.4).requires_grad_()
    left, spikes = torch.zeros_like(current[0]), []
    for i in current:
        u = left + i
        soft = torch.sigmoid(cfg.slope * (u - 1))
        fired = (u >= 1).to(u.dtype)
        spikes.append(fired + soft - soft.detach())
        left = {
            "hard": cfg.keep * (u * (1 - fired) + cfg.v_reset * fired),
            "soft": cfg.keep * (u - fired),
            "delayed": cfg.keep * u - fired,
        }[cfg.reset]
    want, upstream = torch.stack(spikes), torch.randn_like(current)
    rows = current.detach().flatten(0, 1).requires_grad_()
    got = MultiStepNeuron(cfg, 5)(rows)
    assert torch.equal(got, want.detach().round().flatten(0, 1))
    assert 0.05 < got.mean() < 0.95
    grads = [
        torch.autograd.grad(s, x, upstream.view(s.shape))[0].flatten() for s, x in ((want, current), (got, rows))
    ]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-14)
