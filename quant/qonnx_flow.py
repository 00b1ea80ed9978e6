"""What a tensor of a QONNX file is, on its way from the image to the logits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scaflow.quant.graph import IMAGE
from scaflow.quant.qonnx_layer import Pending
from scaflow.quant.qonnx_map import Map


@dataclass
class Flow:
    """The image, spikes or numbers of spikes, or (`pending`) currents. A tensor that several nodes read is copied for
    each: what one does to it is nothing to the others."""

    map: Map
    source: str = IMAGE  # the node of the graph whose values these are
    most: int = 1  # the largest of them
    gain: float = 1.0  # what one unit of them is worth: of the image a pixel level, behind its Quant one of its levels
    tiled: int = 1  # how often the batch is repeated
    flat: bool = False
    quantised: bool = False  # the image is whole numbers
    pending: Pending | None = None
    summed: bool = False  # the logits

    def copy(self) -> Flow:
        return replace(self, map=self.map.copy(), pending=self.pending and self.pending.copy())

    @property
    def on_image(self) -> bool:
        return self.source == IMAGE and not self.pending

    @property
    def on_spikes(self) -> bool:
        return self.source != IMAGE and not self.pending and not self.summed
