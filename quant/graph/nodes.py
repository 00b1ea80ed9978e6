"""The nodes of an integer graph: what each one holds."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from scaflow.quant.neuron import NO_DECAY, Reset

IMAGE = "image"  # what the first node reads
PIXEL_BITS = 8  # of an image as it comes


class Frozen:
    """Integer arrays are taken over as read-only int64; nodes are equal when all their fields are."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.type == "np.ndarray":
                array = np.asarray(value)
                if array.size and not np.issubdtype(array.dtype, np.integer):
                    raise ValueError(
                        f"node {getattr(self, 'name', '?')!r}: {field.name} has type {array.dtype};"
                        " the graph holds integers only: round before building a node"
                    )
                array = array.astype(np.int64)
                array.setflags(write=False)
                object.__setattr__(self, field.name, array)
            elif field.type == "tuple[int, ...]":
                object.__setattr__(self, field.name, tuple(int(v) for v in value))
            elif field.type == "tuple[str, ...]":
                object.__setattr__(self, field.name, tuple(value))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)  # type: ignore[arg-type]
        )


@dataclass(frozen=True, eq=False)
class Conv(Frozen):
    """A spiking convolution: the sums, and the neurons that alone read them. A spiking linear layer is one whose kernel
    is the whole map, without padding."""

    name: str
    weight: np.ndarray  # [Co, Ci, Kh, Kw], signed weight_bits
    bias: np.ndarray  # [Co], in 2^-F of an accumulator step
    threshold: np.ndarray  # [Co], the same unit, at least 1
    stride: int
    padding: int
    leak_shift: int  # L: a step loses v >>> L; 0 is no leak
    reset: Reset
    fraction_bits: int  # F
    weight_bits: int
    in_bits: int  # of an input value; of pixels, one accumulation feeds all steps
    kept: tuple[int, ...]  # output channels that may spike, rising; the others are pruned
    reads: tuple[str, ...] = ()  # the node it reads; none: the one before it
    decay: tuple[int, ...] = NO_DECAY  # D, K: a step leaves v*D >>> K of what the leak leaves
    v_reset: np.ndarray = ()  # type: ignore[assignment]  # [Co], where a hard reset puts v; none given: 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _fill(self, len(self.weight))

    @property
    def kernel(self) -> tuple[int, int]:
        return self.weight.shape[2], self.weight.shape[3]


@dataclass(frozen=True, eq=False)
class Current(Frozen):
    """A convolution whose sums go on as they are: currents, which are joined with others before neurons see them."""

    name: str
    weight: np.ndarray  # [Co, Ci, Kh, Kw], signed weight_bits
    stride: int
    padding: int
    weight_bits: int
    in_bits: int  # of an input value; of pixels, one accumulation feeds all steps
    kept: tuple[int, ...]  # output channels that are computed, rising; the others have no current
    reads: tuple[str, ...] = ()

    @property
    def kernel(self) -> tuple[int, int]:
        return self.weight.shape[2], self.weight.shape[3]


@dataclass(frozen=True, eq=False)
class Join(Frozen):
    """The sum of two edges, each shifted left: of currents, or of spikes, which are then numbers."""

    name: str
    reads: tuple[str, ...]  # two nodes
    shifts: tuple[int, ...] = (0, 0)  # spikes have none


@dataclass(frozen=True, eq=False)
class Neuron(Frozen):
    """The neurons of a Conv by themselves: what reads a current that others read too, or that was joined."""

    name: str
    bias: np.ndarray  # [C], in 2^-F of a step of the current
    threshold: np.ndarray  # [C], the same unit, at least 1
    leak_shift: int
    reset: Reset
    fraction_bits: int
    kept: tuple[int, ...]  # channels that may spike, rising
    reads: tuple[str, ...] = ()
    decay: tuple[int, ...] = NO_DECAY
    v_reset: np.ndarray = ()  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        _fill(self, len(self.bias))


def _fill(node: Conv | Neuron, channels: int) -> None:
    """Of neurons that are reset to 0, the level of each channel."""
    if not node.v_reset.size:
        object.__setattr__(node, "v_reset", np.zeros(channels, np.int64))


@dataclass(frozen=True, eq=False)
class Pool(Frozen):
    """OR over windows of size x size, stride = size; rows and columns that fill no window are dropped."""

    name: str
    size: int
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SumPool(Frozen):
    """The sum over windows of size x size, stride = size: average pooling, its factor in the weights of the reader."""

    name: str
    size: int
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Readout(Frozen):
    """Integrates without firing: logit = sum over steps and inputs of weight*spike, + T*bias."""

    name: str
    weight: np.ndarray  # [classes, Ci, H, W], signed weight_bits
    bias: np.ndarray  # [classes], accumulator steps
    weight_bits: int
    reads: tuple[str, ...] = ()


Node = Conv | Current | Join | Neuron | Pool | SumPool | Readout
Weighted = Conv | Current | Readout  # a stage of hardware each, with lanes to fold
Spiking = Conv | Neuron
