"""The firing-rate regulariser: its value by hand, and a gradient that counts a spike by the synapses it feeds."""

import pytest
import torch

from scaflow.model.rate import spike_cost


def test_the_cost_is_the_part_of_all_synaptic_operations(describe):
    cfg = describe(layers=[{"channels": 2}, {"channels": 4, "stride": 2}, {"kind": "linear", "channels": 6}])
    spikes = [torch.zeros(6, 2, 8, 8), torch.ones(6, 4, 4, 4), torch.zeros(6, 6, 1, 1)]
    spikes[0][:, 0] = 1
    shapes = [s.shape[1:] for s in spikes]
    operations = [6 * 2 * 64 * 4 * 9 / 4, 6 * 4 * 16 * 6, 6 * 6 * 10]  # if every neuron always fired
    expected = (0.5 * operations[0] + operations[1]) / sum(operations)
    assert float(spike_cost(spikes, cfg, shapes, 10)) == pytest.approx(expected, rel=1e-6)


def test_a_spike_costs_what_its_readers_do(describe):
    cfg = describe(layers=[{"channels": 2}, {"channels": 4}], sca={"keep": 1.0})
    spikes = [torch.zeros(3, 2, 8, 8, requires_grad=True), torch.zeros(3, 4, 8, 8, requires_grad=True)]
    spike_cost(spikes, cfg, [(2, 8, 8), (4, 8, 8)], 10).backward()
    first, last = (float(s.grad.flatten()[0]) for s in spikes)
    assert first / last == pytest.approx(4 * 9 / 10)
