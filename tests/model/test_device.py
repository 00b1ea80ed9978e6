"""Training keeps to the device of the network; torch's `meta` stands for a GPU: it mixes with no tensor of the CPU."""

import pytest
import torch
from torch.nn import functional

from scaflow.model import parallel
from scaflow.model.network import SpikingNetwork
from scaflow.model.pruning import Statistics
from scaflow.quant.layers import brevitas_conv, brevitas_linear

RESIDUAL = [{"channels": 4}, {"channels": 4, "shortcut": -1}, {"channels": 8, "shortcut": -1}]


@pytest.mark.parametrize("factories", [(), (brevitas_conv, brevitas_linear)], ids=["float", "quantised"])
@pytest.mark.parametrize("layers", [[{"channels": 4}, {"channels": 8, "pool": 2}], RESIDUAL], ids=["chain", "residual"])
def test_a_step_touches_no_other_device(describe, monkeypatch, layers, factories):
    monkeypatch.setattr(torch.Tensor, "all", lambda _: False)  # is anything pruned? `meta` holds no answer
    with torch.device("meta"):
        net = SpikingNetwork(describe(layers=layers), *factories)
        images, labels = torch.rand(16, 1, 8, 8), torch.randint(0, 10, (16,))
    statistics = Statistics(net)
    statistics.record(True)
    loss = functional.cross_entropy(net(images), labels)
    loss.backward()
    statistics.update()
    found = [loss, *(p.grad for p in net.parameters()), *net.state_dict().values()]
    assert {tensor.device.type for tensor in (*found, *statistics.activity, *statistics.gradient)} == {"meta"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="torch finds no GPU here; use cpu"):
        parallel.device("cuda")
    with pytest.raises(ValueError, match="device 'gpu': use auto, cpu or cuda"):
        parallel.device("gpu")
    assert parallel.device("auto") == torch.device("cpu")
