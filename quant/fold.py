"""From a trained network to its integer form: of a chain, or of one with shortcuts."""

from __future__ import annotations

from scaflow.model.network import SpikingNetwork
from scaflow.quant.folded import FoldedNetwork
from scaflow.quant.residual import FoldedResidual


def fold(net: SpikingNetwork) -> FoldedNetwork:
    """The integer form of a network made with the Brevitas factories; it shares the network's parameters.

    Raises:
        ValueError: two shortcuts begin at the image's current.
    """
    return FoldedNetwork(net) if net.is_chain else FoldedResidual(net)
