"""A network as someone outside the project would write it: Brevitas, torch and the LIF operator.

python foreign_script.py OUT.onnx OUT.npz [hard|soft]: the file, and the integers of the weights.
BatchNormalization stays a node, the threshold is one scalar, the membrane has no `step`.
"""

import sys

import brevitas.nn as qnn
import numpy as np
import torch
from brevitas.export import export_qonnx
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import Uint8ActPerTensorFloat
from torch import nn

from scaflow.quant.ops.torch import OPSETS, lif

T, BATCH = 3, 2
RESET = sys.argv[3] if len(sys.argv) > 3 else "hard"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = qnn.QuantIdentity(
            act_quant=Uint8ActPerTensorFloat, scaling_impl_type=ScalingImplType.CONST, scaling_init=1.0
        )
        self.conv1 = qnn.QuantConv2d(1, 6, 3, padding=1, bias=False, weight_bit_width=8)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = qnn.QuantConv2d(6, 10, 3, stride=2, padding=1, bias=True, weight_bit_width=4)
        self.bn2 = nn.BatchNorm2d(10)
        self.hidden = qnn.QuantLinear(10 * 2 * 2, 12, bias=False, weight_bit_width=4)
        self.bn3 = nn.BatchNorm1d(12)
        self.out = qnn.QuantLinear(12, 10, bias=True, weight_bit_width=8)
        self.register_buffer("threshold", torch.tensor(0.8))

    def neuron(self, current):
        return lif(current, self.threshold, time_steps=T, leak_shift=1, reset=RESET)

    def forward(self, x):
        x = self.bn1(self.conv1(self.image(x))).repeat(T, 1, 1, 1)
        x = nn.functional.max_pool2d(self.neuron(x), 2)
        x = self.neuron(self.bn2(self.conv2(x)))
        x = self.neuron(self.bn3(self.hidden(x.flatten(1))))
        return self.out(x).reshape(T, -1, 10).mean(0)


torch.manual_seed(1)
net = Net().eval()
for bn in (net.bn1, net.bn2, net.bn3):
    n = bn.num_features
    bn.weight.data = torch.randn(n) * 0.5 + 1
    bn.bias.data = torch.rand(n) * 0.6
    bn.running_mean = torch.randn(n) * 0.1
    bn.running_var = torch.rand(n) * 0.3 + 0.05
export_qonnx(
    net,
    args=torch.rand(BATCH, 1, 8, 8),
    export_path=sys.argv[1],
    dynamo=False,
    custom_opsets=OPSETS,
)
layers = {"conv1": net.conv1, "conv2": net.conv2, "hidden": net.hidden, "out": net.out}
np.savez(sys.argv[2], **{name: layer.quant_weight().int().numpy() for name, layer in layers.items()})
