"""Soft targets: what the trained dense network says of the training images, for the pruned one to learn.

Hinton et al., 2015, arXiv 1503.02531.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from scaflow.model.batches import Images
from scaflow.model.checkpoint import load_trained
from scaflow.model.config import AugmentConfig, NetworkConfig
from scaflow.model.files import readable
from scaflow.model.network import ConvFactory, LinearFactory, SpikingNetwork, full_scale

BATCH = 500  # images


class Teacher:
    """A trained network that is asked, and learns no more.

    What it says of images that come as they are is worked out once; of augmented ones it is asked batch by batch.

    Args:
        images: all training images, uint8 [N, C, H, W], or recordings.
        lengths: of recordings, [N].
    """

    def __init__(
        self,
        net: SpikingNetwork,
        images: Tensor,
        augment: AugmentConfig,
        temperature: float,
        lengths: Tensor | None = None,
    ) -> None:
        self.net, self.temperature = net.eval().requires_grad_(False), temperature
        device, full = net.readout.weight.device, full_scale(net.cfg)
        starts = () if augment != AugmentConfig() else range(0, len(images), BATCH)
        parts = [slice(start, start + BATCH) for start in starts]
        said = [
            self._log_probabilities(images[part].to(device).float() / full, None if lengths is None else lengths[part])
            for part in parts
        ]
        self.table = torch.cat(said) if said else None

    @classmethod
    def of(
        cls,
        path: Path,
        cfg: NetworkConfig,
        images: Images,
        factories: tuple[ConvFactory, LinearFactory],
        device: torch.device,
    ) -> Teacher:
        """The network of a model.pt, as a teacher for that of `cfg`.

        Raises:
            ValueError: no such model, or it sees other images or tells other classes.
        """
        trained = load_trained(path)
        theirs, ours = ((c.input_shape, c.classes) for c in (trained.cfg, cfg))
        if theirs != ours:
            raise ValueError(f"{path}: soft targets of images and classes {theirs}, where {ours} are learnt")
        net = SpikingNetwork(trained.cfg, *factories)
        with readable(path, "train again: `scaflow train`", AttributeError, RuntimeError, TypeError):
            net.load_state_dict(trained.network)
        net = net.to(device).accelerate(False)
        return cls(net, images.train, cfg.train.augment, cfg.sca.temperature, images.train_lengths)

    def loss(self, logits: Tensor, images: Tensor, chosen: Tensor, lengths: Tensor | None = None) -> Tensor:
        """T^2 times the divergence of softmax(logits / T) from the teacher's, T the temperature; a mean over images.

        Args:
            logits: [N, classes], of the network that learns.
            images: images or recordings in 0..1, as it saw them.
            chosen: int64 [N], their places among all training images.
            lengths: of recordings.
        """
        if self.table is None:
            wanted = self._log_probabilities(images, lengths)
        else:
            wanted = self.table[chosen.to(self.table.device)]
        found = functional.log_softmax(logits / self.temperature, 1)
        return self.temperature**2 * functional.kl_div(found, wanted, reduction="batchmean", log_target=True)

    @torch.no_grad()
    def _log_probabilities(self, images: Tensor, lengths: Tensor | None) -> Tensor:
        return functional.log_softmax(self.net(images, lengths) / self.temperature, 1)
