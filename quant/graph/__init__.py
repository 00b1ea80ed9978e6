"""The integer graph: a network once no real number is left in it; it executes, and that is the golden model.

A directed graph of the nodes of nodes.py, each of which reads what nodes before it wrote, or the image; edges.py says
what flows between them. The semantics are the integer contract of docs/architecture.md.
"""

from scaflow.quant.graph.arrange import arranged
from scaflow.quant.graph.edges import Edge
from scaflow.quant.graph.execute import accumulate, execute, integrate, join, pool, sum_pool
from scaflow.quant.graph.network import Graph, plain
from scaflow.quant.graph.nodes import (
    IMAGE,
    PIXEL_BITS,
    Conv,
    Current,
    Join,
    Neuron,
    Node,
    Pool,
    Readout,
    Spiking,
    SumPool,
    Weighted,
)
from scaflow.quant.graph.rules import validate
from scaflow.quant.graph.store import FORMAT, load, save

__all__ = [
    "FORMAT",
    "IMAGE",
    "PIXEL_BITS",
    "Conv",
    "Current",
    "Edge",
    "Graph",
    "Join",
    "Neuron",
    "Node",
    "Pool",
    "Readout",
    "Spiking",
    "SumPool",
    "Weighted",
    "accumulate",
    "arranged",
    "execute",
    "integrate",
    "join",
    "load",
    "plain",
    "pool",
    "save",
    "sum_pool",
    "validate",
]
