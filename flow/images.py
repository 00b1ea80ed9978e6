"""Which test images a verb works on. Decided here alone, so that every report states the number there was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaflow.flow.stages import Progress, Project

if TYPE_CHECKING:
    import numpy as np


def test_images(project: Project, wanted: int, progress: Progress) -> np.ndarray:
    """The first test images, uint8 [N, C, H, W], or recordings, [N, T, C, H, W]: as many as are wanted, or all where
    there are fewer, which is said."""
    from scaflow.model.data import dataset_of

    images = dataset_of(project.network, project.data, few=0).test_images
    if len(images) < wanted:
        progress(f"the test set has {len(images):,} image(s) where {wanted:,} are asked for: all are used")
    return images[:wanted]
