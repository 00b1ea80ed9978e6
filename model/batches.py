"""The images or recordings of a run as batches: subset, order and augmentation, each a function of the seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scaflow.model.config import AugmentConfig, NetworkConfig
from scaflow.model.data import Dataset, split
from scaflow.model.network import full_scale


def augment(
    images: Tensor, how: AugmentConfig, generator: torch.Generator, batch: int | None = None, part: slice = slice(None)
) -> Tensor:
    """Each image of [N, C, H, W] mirrored or not, then moved by up to `how.crop` pixels each way, over zeros.

    The frames of a recording, [N, T, C, H, W], are changed as one. The images may be the `part` of a batch of so many:
    they are changed as they were among all of it.
    """
    if not how.crop and not how.flip:
        return images
    if images.dim() == 5:
        return augment(images.flatten(1, 2), how, generator, batch, part).unflatten(1, images.shape[1:3])
    n, _, height, width = images.shape
    padded = functional.pad(images, (how.crop,) * 4)
    dy, dx = torch.randint(0, 2 * how.crop + 1, (2, batch or n, 1), generator=generator)[:, part]
    rows, columns = dy + torch.arange(height), torch.arange(width).expand(n, width)
    if how.flip:
        mirrored = torch.rand(batch or n, 1, generator=generator)[part] < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    columns = columns + dx
    picked = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Images:
    """What is learnt from, and what selects the model: images uint8 [N, C, H, W], or recordings [N, T, C, H, W] with
    their lengths in frames, int64 [N]; labels int64 [N]."""

    train: Tensor
    train_labels: Tensor
    validation: Tensor
    validation_labels: Tensor
    train_lengths: Tensor | None = None
    validation_lengths: Tensor | None = None

    @classmethod
    def of(cls, cfg: NetworkConfig, dataset: Dataset) -> Images:
        parts = split(dataset, cfg.train.validation, cfg.train.seed)
        count = cfg.train.train_images or len(parts.train_images)
        chosen = np.random.default_rng((cfg.train.seed, 1)).permutation(len(parts.train_images))[:count]
        lengths, held = parts.train_lengths, parts.validation_lengths
        return cls(
            torch.from_numpy(parts.train_images[chosen]),
            torch.from_numpy(parts.train_labels[chosen]),
            torch.from_numpy(parts.validation_images),
            torch.from_numpy(parts.validation_labels),
            None if lengths is None else torch.from_numpy(lengths[chosen]),
            None if held is None else torch.from_numpy(held),
        )

    def lengths(self, chosen: Tensor) -> Tensor | None:
        """Of these of the training recordings; None: they are images."""
        return None if self.train_lengths is None else self.train_lengths[chosen]

    def batches(
        self, cfg: NetworkConfig, stage: str, epoch: int, part: slice = slice(None), device: torch.device | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The epoch's batches (images in 0..1, labels, their places in `train`), or of each the `part`.

        A function of (seed, stage, epoch) alone: the parts together are the batches that one process has.
        """
        number = int(np.random.SeedSequence((cfg.train.seed, len(stage), epoch)).generate_state(1)[0])
        generator = torch.Generator().manual_seed(number)
        order = torch.randperm(len(self.train), generator=generator)
        size = self.batch(cfg)
        for i in range(self.steps(cfg)):
            chosen = order[i * size : (i + 1) * size][part]
            images = augment(self.train[chosen], cfg.train.augment, generator, size, part)
            yield images.to(device).float() / full_scale(cfg), self.train_labels[chosen].to(device), chosen

    def batch(self, cfg: NetworkConfig) -> int:
        """Images of a batch; all there are, if a batch wants more."""
        return min(cfg.train.batch, len(self.train))

    def steps(self, cfg: NetworkConfig) -> int:
        """Batches an epoch; an incomplete last one is left out (the order changes each epoch)."""
        return len(self.train) // self.batch(cfg)
