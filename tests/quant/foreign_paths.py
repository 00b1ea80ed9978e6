"""Networks whose paths part and meet, as someone outside the project would write them: Brevitas, torch and LIF.

python foreign_paths.py OUT.onnx OUT.npz residual|pooled|grouped: the file, and the integers of the weights.
residual: a pre-activation block whose sums are of currents, then one whose sums are of spikes. What is added up has
weights of fixed scales, powers of two apart. pooled: averages and sums over windows, and a read-out of the mean.
grouped: a depthwise convolution between kernels of a row and of a column, and one of groups.
"""

import sys

import brevitas.nn as qnn
import numpy as np
import torch
from brevitas.export import export_qonnx
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import Uint8ActPerTensorFloat
from torch import nn
from torch.nn import functional

from scaflow.quant.ops.torch import OPSETS, lif

T, BATCH = 2, 2


def conv(inputs, outputs, kernel=3, bits=4, scale=None, **options):
    if scale is not None:
        options["weight_scaling_impl_type"] = ScalingImplType.CONST
        options["weight_scaling_init"] = scale * (2 ** (bits - 1) - 1)
    return qnn.QuantConv2d(
        inputs, outputs, kernel, padding=kernel // 2, bias=False, weight_bit_width=bits, **options
    )


def neuron(current):
    return lif(current, torch.tensor(0.8), time_steps=T, leak_shift=1, reset="soft")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = qnn.QuantIdentity(
            act_quant=Uint8ActPerTensorFloat, scaling_impl_type=ScalingImplType.CONST, scaling_init=255 * 2.0**-8
        )


def norms(*channels):
    made = nn.ModuleList(nn.BatchNorm2d(n) for n in channels)
    for bn in made:
        n = bn.num_features
        bn.weight.data = torch.rand(n) * 0.5 + 0.75  # above 0: what is read by others as well has one sign
        bn.bias.data = torch.rand(n) * 0.6
        bn.running_mean = torch.randn(n) * 0.1
        bn.running_var = torch.rand(n) * 0.3 + 0.05
    return made


class Residual(Net):
    def __init__(self):
        super().__init__()
        self.stem = conv(1, 6, bits=8, scale=2.0**-6)
        self.inner = conv(6, 5)
        self.outer = conv(5, 6, scale=2.0**-5)
        self.across = conv(6, 8, 1, scale=2.0**-4, stride=2)
        self.down = conv(6, 8, scale=2.0**-6, stride=2)
        self.beside = conv(8, 8)
        self.mixed = conv(8, 6)
        self.norms = norms(6, 5, 6, 8, 8, 6)
        self.out = qnn.QuantLinear(6 * 4 * 4, 4, bias=True, weight_bit_width=8)

    def forward(self, x):
        first, inner, second, third, fourth, last = self.norms
        x = self.stem(self.image(x)).repeat(T, 1, 1, 1)
        x = x + self.outer(neuron(inner(self.inner(neuron(first(x))))))
        s = neuron(second(x))
        s = neuron(third(self.across(s) + self.down(s)))
        s = s + neuron(fourth(self.beside(s)))
        s = neuron(last(self.mixed(s)))
        return self.out(s.flatten(1)).reshape(T, -1, 4).sum(0)


class Pooled(Net):
    def __init__(self):
        super().__init__()
        self.first = conv(1, 6, bits=8)
        self.second = conv(6, 8)
        self.third = conv(8, 6, 1)
        self.norms = norms(6, 8, 6)
        self.out = qnn.QuantLinear(6, 4, bias=True, weight_bit_width=8)

    def forward(self, x):
        first, second, third = self.norms
        s = neuron(first(self.first(self.image(x))).repeat(T, 1, 1, 1))
        s = functional.avg_pool2d(s, 2)
        s = neuron(second(self.second(s)))
        s = functional.avg_pool2d(s, 2) * 4
        s = neuron(third(self.third(s)))
        return self.out(s.mean((2, 3))).reshape(T, -1, 4).mean(0)


class Grouped(Net):
    def __init__(self):
        super().__init__()
        self.row = qnn.QuantConv2d(1, 6, (1, 5), padding=(0, 2), bias=False, weight_bit_width=8)
        self.depthwise = conv(6, 6, groups=6, stride=2)
        self.pointwise = conv(6, 8, 1)
        self.groups = qnn.QuantConv2d(8, 6, (3, 1), padding=(1, 0), groups=2, bias=False, weight_bit_width=4)
        self.norms = norms(6, 6, 8, 6)
        self.out = qnn.QuantLinear(6 * 4 * 4, 4, bias=True, weight_bit_width=8)

    def forward(self, x):
        first, second, third, fourth = self.norms
        s = neuron(first(self.row(self.image(x))).repeat(T, 1, 1, 1))
        s = neuron(second(self.depthwise(s)))
        s = neuron(third(self.pointwise(s)))
        s = neuron(fourth(self.groups(s)))
        return self.out(s.flatten(1)).reshape(T, -1, 4).sum(0)


torch.manual_seed(1)
net = {"residual": Residual, "pooled": Pooled, "grouped": Grouped}[sys.argv[3]]().eval()
export_qonnx(
    net, args=torch.rand(BATCH, 1, 8, 8), export_path=sys.argv[1], dynamo=False, custom_opsets=OPSETS
)
layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, qnn.QuantConv2d | qnn.QuantLinear)}
np.savez(sys.argv[2], **{name: layer.quant_weight().int().numpy() for name, layer in layers.items()})
