"""The integer form of a network with shortcuts: currents that are joined lie on one grid a channel.

A trunk is what shortcuts add up: convolutions, 1x1 convolutions on the way from another map, and the current of the
image. With S[c] the value of a step of channel c, the weights of convolution m are whole multiples of S[c] * 2^k[m]:
k[m] is the power of two nearest to how the scale of m lies to the first one's, and S[c] is what holds the largest
weight of each. A sum of currents is then one of integers, shifted by the difference of their k; nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scaflow.model.network import SpikingBlock, SpikingNetwork, pixel_levels
from scaflow.quant.folded import FoldedBlock, FoldedNetwork, IntegerNeuron, exact, pooled, power_of_two
from scaflow.quant.graph import Current, Join, Neuron, Node
from scaflow.quant.layers import SMALLEST_SCALE, integer_weight, round_through
from scaflow.quant.neuron import NO_DECAY

_LEAST_GAIN = 2.0**-6  # of a normalisation behind which, or on whose way, currents are joined: its sign is plus


@dataclass(frozen=True)
class Member:
    """A convolution that writes into a trunk."""

    name: str
    weight: Tensor  # [Co, Ci, Kh, Kw], whole numbers, with their gradient
    bits: int
    exponent: int  # k: a step is worth S * 2^k
    conv: Any


@dataclass(frozen=True)
class Trunk:
    """The members by name, and what a current is worth."""

    members: dict[str, Member]
    step: Tensor  # S [C], float64
    constant: Tensor  # [C], float64: what the normalisation of the image's current adds behind it
    image_gain: Tensor | None  # [C]: of that normalisation


@dataclass(frozen=True)
class Joined:
    """A current, in units of S * 2^exponent."""

    value: Tensor  # [T or 1, N, C, H, W], whole numbers
    exponent: int


class FoldedResidual(FoldedNetwork):
    """As FoldedNetwork, of a network with shortcuts.

    Raises:
        ValueError: two shortcuts begin at the image's current.
    """

    def __init__(self, net: SpikingNetwork) -> None:
        super().__init__(net)
        self.shortcuts = net.shortcuts
        self.joined = net.joined
        self.groups = net.groups
        if list(self.joined.values()).count(0) > 1:
            raise ValueError(
                f"{net.cfg.name}: several shortcuts begin at layers[0]; each would scale the image's current otherwise:"
                " let later ones begin where the first one ends"
            )

    def trunks(self) -> list[Trunk | None]:
        """What each block's convolution writes into; None: its neurons alone read it."""
        found: list[Trunk | None] = [None] * len(self.blocks)
        for group in self.groups:
            if any(str(i) in self.shortcuts for i in group):
                trunk = self._trunk(group)
                for i in group:
                    found[i] = trunk
        return found

    def _trunk(self, group: tuple[int, ...]) -> Trunk:
        gain: Tensor | None = None
        constant = torch.zeros(len(self.blocks[group[0]].mask), dtype=torch.float64)
        given: list[tuple[str, Any, int]] = []
        for i in group:
            given.append((f"conv{i}", self.blocks[i].conv, self.largest_pixel if i == 0 else 1))
            if str(i) in self.shortcuts and i not in self.joined:
                given.append((f"shortcut{i}", self.shortcuts[str(i)], 1))
            if self.joined.get(i) == 0:
                bn = cast(Any, self.shortcuts[str(i)])
                gain = _gain(bn)
                constant = bn.bias.double() - gain * bn.running_mean.double()
        found = []
        for name, conv, largest in given:
            weight, bits = conv.weight.double(), integer_weight(conv)[2]
            if name == "conv0":
                weight = weight / largest if gain is None else weight * gain.view(-1, 1, 1, 1) / largest
            top = 2 ** (bits - 1) - 1
            scale = weight.detach().abs().flatten(1).max(1).values.clamp(min=SMALLEST_SCALE) / top
            found.append((name, conv, weight, bits, top, scale))
        first = found[0][-1]
        exponents = [int((scale / first).log2().mean().round()) for *_, scale in found]
        step = torch.stack([scale * 2.0**-k for (*_, scale), k in zip(found, exponents, strict=True)]).amax(0)
        members = {
            name: Member(
                name,
                round_through(weight / (step * 2.0**k).view(-1, 1, 1, 1)).clamp(-top, top),
                bits,
                k,
                conv,
            )
            for (name, conv, weight, bits, top, _), k in zip(found, exponents, strict=True)
        }
        return Trunk(members, step, constant, gain)

    def spikes(self, x: Tensor) -> list[Tensor]:
        x = pixel_levels(x, self.cfg.pixel_bits)
        spikes: list[Tensor] = []
        currents: dict[int, Joined] = {}
        for i, (block, trunk) in enumerate(zip(self.blocks, self.trunks(), strict=True)):
            read = x if i == 0 else spikes[-1]
            if trunk is None:
                spikes.append(self._block(block, read))
                continue
            made = self._current(trunk.members[f"conv{i}"], read, i == 0)
            if i in self.joined:
                made = join(currents[self.joined[i]], made)
            elif str(i) in self.shortcuts:
                source = spikes[i + (self.cfg.layers[i].shortcut or 0)]
                made = join(self._current(trunk.members[f"shortcut{i}"], source, False), made)
            currents[i] = made
            integers, ratio = self.neuron(i, trunk, made.exponent)
            fired = IntegerNeuron.apply(  # type: ignore[no-untyped-call]
                made.value * ratio.to(made.value.dtype).view(-1, 1, 1),
                integers.offset,
                integers,
                block.mask,
                self.cfg.neuron,
                2**self.cfg.quant.fraction_bits,
                self.cfg.time_steps,
            ).flatten(0, 1)
            spikes.append(pooled(block, fired))
        return spikes

    def _current(self, member: Member, x: Tensor, image: bool) -> Joined:
        largest = member.weight.detach().abs().sum((1, 2, 3)).max() * (self.largest_pixel if image else 1)
        dtype = exact(float(largest))
        weight = member.weight.to(dtype)
        acc = functional.conv2d(x.to(dtype), weight, None, member.conv.stride, member.conv.padding)
        return Joined(acc.double().unflatten(0, (1 if image else self.cfg.time_steps, -1)), member.exponent)

    def neuron(self, i: int, trunk: Trunk, exponent: int) -> tuple[FoldedBlock, Tensor]:
        """The neurons of block i on a current in units of S * 2^exponent, and a factor of 1 that carries the gradient
        of the current's slope."""
        bn = cast(Any, self.blocks[i].bn)
        gain = _gain(bn)
        offset = bn.bias.double() - gain * bn.running_mean.double()
        if i == 0 and trunk.image_gain is not None:
            gain = gain / trunk.image_gain  # its own normalisation sees the current before the shortcut's does
        elif trunk.image_gain is not None:
            offset = offset + gain * trunk.constant
        grid = 2**self.cfg.quant.fraction_bits
        slope = gain * trunk.step * 2.0**exponent
        step = slope.detach()
        threshold = (grid / step).round().clamp(min=1)
        integers = FoldedBlock(
            weight=torch.zeros(0),
            bias=(offset.detach() / step * grid).round(),
            threshold=threshold,
            v_reset=torch.minimum((self.cfg.neuron.v_reset * grid / step).round(), threshold - 1),
            step=step,
            offset=offset,
            weight_bits=0,
        )
        return integers, slope / step

    @torch.no_grad()
    def steps(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for i, (block, trunk) in enumerate(zip(self.blocks, self.trunks(), strict=True)):
            if trunk is None:
                found[f"conv{i}"] = power_of_two(self.integers(block).step)
            else:
                found |= {m.name: power_of_two(trunk.step) * 2.0**m.exponent for m in trunk.members.values()}
        return found

    def nodes(self) -> list[Node]:
        nodes: list[Node] = []
        spikes: list[str] = []  # what writes those of each block
        currents: dict[int, tuple[str, int]] = {}  # what writes the current of a block, and its exponent
        for i, (block, trunk) in enumerate(zip(self.blocks, self.trunks(), strict=True)):
            read = spikes[-1] if i else ""
            if trunk is None:
                made: list[Node] = [replace(self.conv_node(i), reads=(read,) if read else ())]
            else:
                made, currents[i] = self._written(i, trunk, read, spikes, currents)
                made.append(self._neuron_node(i, block, trunk, *currents[i]))
            made += self.pool_nodes(i)
            nodes += made
            spikes.append(made[-1].name)
        return nodes

    def _written(
        self, i: int, trunk: Trunk, read: str, spikes: list[str], currents: dict[int, tuple[str, int]]
    ) -> tuple[list[Node], tuple[str, int]]:
        """What writes the current of a block into its trunk: the nodes, the last one's name, and the exponent."""
        own = trunk.members[f"conv{i}"]
        made: list[Node] = [self._current_node(i, own, read)]
        if i in self.joined:
            other, exponent = currents[self.joined[i]]
        elif str(i) in self.shortcuts:
            member = trunk.members[f"shortcut{i}"]
            made.append(self._current_node(i, member, spikes[i + (self.cfg.layers[i].shortcut or 0)]))
            other, exponent = member.name, member.exponent
        else:
            return made, (own.name, own.exponent)
        low = min(exponent, own.exponent)
        made.append(Join(f"join{i}", (other, own.name), (exponent - low, own.exponent - low)))
        return made, (f"join{i}", low)

    def _current_node(self, i: int, member: Member, read: str) -> Current:
        mask = self.blocks[i].mask.cpu().numpy()
        (stride, _), (padding, _) = member.conv.stride, member.conv.padding
        weight = _whole(member.weight) * mask[:, None, None, None]
        bits = 1 if read else self.cfg.pixel_bits
        kept = tuple(np.flatnonzero(mask).tolist())
        return Current(member.name, weight, stride, padding, member.bits, bits, kept, (read,) if read else ())

    def _neuron_node(self, i: int, block: SpikingBlock, trunk: Trunk, read: str, exponent: int) -> Neuron:
        integers, _ = self.neuron(i, trunk, exponent)
        mask = block.mask.cpu().numpy()
        return Neuron(
            name=f"fire{i}",
            bias=_whole(integers.bias) * mask,
            threshold=np.where(mask, _whole(integers.threshold), 1),
            v_reset=_whole(integers.v_reset) * mask,
            leak_shift=self.cfg.neuron.leak_shift,
            decay=self.cfg.neuron.decay or NO_DECAY,
            reset=self.cfg.neuron.reset,
            fraction_bits=self.cfg.quant.fraction_bits,
            kept=tuple(np.flatnonzero(mask).tolist()),
            reads=(read,),
        )


def join(a: Joined, b: Joined) -> Joined:
    """The sum, in the finer unit of the two."""
    low = min(a.exponent, b.exponent)
    return Joined(a.value * 2.0 ** (a.exponent - low) + b.value * 2.0 ** (b.exponent - low), low)


def _gain(bn: Any) -> Tensor:
    """Of a normalisation, [C]; at least _LEAST_GAIN, so that what it scales keeps its sign."""
    gain: Tensor = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
    return gain.clamp(min=_LEAST_GAIN)


def _whole(x: Tensor) -> np.ndarray:
    return x.detach().double().cpu().numpy().astype(np.int64)
