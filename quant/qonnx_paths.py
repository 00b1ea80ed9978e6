"""Where the paths of a QONNX file part and meet: currents that others read too, sums of currents, of spikes, and over
windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import NodeProto

from scaflow.quant.graph import IMAGE, PIXEL_BITS, Join, SumPool
from scaflow.quant.qonnx_flow import Flow
from scaflow.quant.qonnx_map import Map
from scaflow.quant.qonnx_operators import attributes
from scaflow.quant.qonnx_position import Position
from scaflow.quant.qonnx_run import Runner

_MOST = (1 << PIXEL_BITS) - 1  # of a number of spikes


class Paths(Position):
    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self._names: set[str] = set()
        self._sums: dict[tuple[str, int], str] = {}  # the node that sums what a node writes over windows of this size

    def _named(self, kind: str) -> str:
        """A new node's, until all are arranged: with the number of the neurons it leads to, or is behind."""
        name = f"{kind}{len(self.roundings) - (kind in ('pool', 'sums'))}"
        while name in self._names:
            name += "_next"
        self._names.add(name)
        return name

    def _fork(self, flow: Flow) -> None:
        """Sums that several read are a node by themselves."""
        if flow.pending and not flow.pending.reshaped and (node := flow.pending.current()):
            self._nodes.append(node)

    def _join(self, node: NodeProto, tensors: Sequence[str], flows: Sequence[Flow]) -> None:
        a, b = flows
        shapes = [self._value(name).shape for name in tensors]
        if tensors[0] == tensors[1]:
            self._refuse(node, f"adds {tensors[0]!r} to itself; multiply it by 2")
        elif shapes[0] != shapes[1]:
            self._refuse(node, f"joins the shapes {shapes[0]} and {shapes[1]}; both must be alike: Tile the image's")
        elif a.pending and b.pending and not (a.pending.reshaped or b.pending.reshaped):
            self._join_currents(node, a, b)
        elif a.on_spikes and b.on_spikes:
            self._join_spikes(node, a, b)
        else:
            self._refuse(node, "joins neither two currents nor two maps of spikes; put a LIF, or none, on both paths")

    def _join_currents(self, node: NodeProto, a: Flow, b: Flow) -> None:
        assert a.pending and b.pending
        if a.map.sizes != b.map.sizes:
            self._refuse(node, f"joins currents of maps {a.map.sizes} and {b.map.sizes}; both must be alike")
            return
        if node.op_type == "Sub":
            b.pending.multiply(np.array(-1.0))
        for flow in (a, b):
            self._fork(flow)
        made = a.pending.join(b.pending, node, self._named("join"))
        if isinstance(made, str):
            self._refuse(node, made)
            return
        pending, joined = made
        self._nodes.append(joined)
        first = b if a.source == IMAGE else a  # the image's current has been repeated
        self._at = Flow(Map(a.map.sizes), first.source, tiled=first.tiled, quantised=True, flat=a.flat, pending=pending)

    def _join_spikes(self, node: NodeProto, a: Flow, b: Flow) -> None:
        if not all(self._settled(node, flow) for flow in (a, b)):
            return
        if node.op_type == "Sub":
            self._refuse(node, "subtracts spikes; only sums of them are understood")
        elif not math.isclose(a.gain, b.gain, rel_tol=1e-6):
            self._refuse(node, f"adds spikes that are worth {a.gain:g} to some worth {b.gain:g}; scale them alike")
        elif a.map.sizes != b.map.sizes or not (a.map.plain and b.map.plain):
            self._refuse(
                node,
                f"joins maps of spikes {a.map.sizes} and {b.map.sizes}; both must be alike, and neither padded nor with"
                " axes that have changed places",
            )
        elif a.most + b.most > _MOST:
            self._refuse(node, f"its sums reach {a.most + b.most}, and {_MOST} is the most; put a LIF in between")
        else:
            name = self._named("join")
            self._nodes.append(Join(name, (a.source, b.source)))
            a.source, a.most = name, a.most + b.most
            self._at = a

    def _sum_pool(self, node: NodeProto) -> None:
        """Sums over windows; a mean is a sum of spikes that are worth so much less."""
        flow, attribute, kind = self._at, attributes(node), node.op_type
        if not flow.on_spikes or flow.flat:
            self._refuse(node, "pools spikes only: put it behind a LIF")
            return
        if kind == "LpPool" and attribute.get("p", 2) != 1:
            self._refuse(node, f"p={attribute.get('p', 2)} must be 1: sums of spikes")
            return
        if not self._settled(node):
            return
        before = flow.map.sizes
        if kind in ("AveragePool", "LpPool"):
            size = flow.map.pool(attribute, self._value(node.output[0]).shape[2:])
            window = size if isinstance(size, str) else (size, size)
        else:
            window = flow.map.all_pixels()
        if isinstance(window, str):
            self._refuse(node, window)
            return
        if window != (1, 1):
            flow.map.under = (before, window)
        if kind not in ("LpPool", "ReduceSum"):
            flow.gain /= math.prod(window)

    def _round(self, node: NodeProto) -> None:
        """Of sums that an average and its pixels have made whole but for rounding."""
        if not self._at.on_spikes or not math.isclose(self._at.gain, 1, rel_tol=1e-6):
            self._refuse(node, "rounds what is no whole number of spikes; leave it out")
        self._at.gain = 1.0

    def _settled(self, node: NodeProto, flow: Flow | None = None) -> bool:
        """Sums over windows become a node of the graph, where no linear layer takes them into its weights."""
        flow = flow or self._at
        if flow.map.under is None:
            return True
        high, wide = flow.map.under[1]
        most = flow.most * high * wide
        if high != wide:
            self._refuse(node, f"reads sums over windows of {high}x{wide}; use square ones, but before a linear layer")
            return False
        if most > _MOST:
            self._refuse(node, f"reads sums of up to {most} spikes, and {_MOST} is the most; use smaller windows")
            return False
        name = self._sums.get((flow.source, high))
        if name is None:
            name = self._sums[flow.source, high] = self._named("sums")
            self._nodes.append(SumPool(name, high, (flow.source,)))
        flow.source, flow.most, flow.map.under = name, most, None
        return True
