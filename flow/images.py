"""Which test images a verb works on. Decided here alone, so that every report states the number there was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaflow.flow.stages import Progress, Project

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from scaflow.hw.recordings import Given, Offered
    from scaflow.model.config import NetworkConfig
    from scaflow.model.events.dataset import Recorded

MOST_TOLD = 20  # problems, a line each


def test_given(project: Project, wanted: int, progress: Progress) -> Given:
    """The same as a design takes them: images, or recordings with their events."""
    network = project.network
    if not network.frames:
        return test_images(project, wanted, progress)
    return given_recordings(network, project.data, "test", wanted, progress)


def test_labels(project: Project, wanted: int) -> np.ndarray:
    """Of the first test recordings."""
    from scaflow.model.events.dataset import recorded

    with recorded(project.network, project.data, "test", few=wanted) as found:
        return found.labels


def given_recordings(
    network: NetworkConfig, data: Path, part: str, wanted: int, progress: Progress = lambda line: None
) -> list[Offered]:
    """The first recordings of the part train or test, as a design takes them."""
    from scaflow.model.events.dataset import recorded

    with recorded(network, data, part, progress, few=wanted) as found:
        return taken(network, found)


def taken(network: NetworkConfig, found: Recorded) -> list[Offered]:
    """Recordings as a design takes them.

    Raises:
        ValueError: some are none, or not as the description says: all are listed.
    """
    from scaflow.hw.recordings import offered
    from scaflow.model.events.dataset import counts_of

    given, problems = [], []
    for i in range(len(found.labels)):
        try:
            recording = found.read(i)
            counts_of(network, recording, found.name(i))
            given.append(offered(recording, network.input.binning))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        lines = "".join(f"\n  {line}" for line in problems[:MOST_TOLD])
        more = f"\n  and {len(problems) - MOST_TOLD} more" if len(problems) > MOST_TOLD else ""
        raise ValueError(f"{found.title}: {len(problems)} recording(s) cannot be taken{lines}{more}")
    return given


def test_images(project: Project, wanted: int, progress: Progress) -> np.ndarray:
    """The first test images, uint8 [N, C, H, W], or recordings, [N, T, C, H, W]: as many as are wanted, or all where
    there are fewer, which is said."""
    from scaflow.model.data import dataset_of

    images = dataset_of(project.network, project.data, few=0).test_images
    if len(images) < wanted:
        progress(f"the test set has {len(images):,} image(s) where {wanted:,} are asked for: all are used")
    return images[:wanted]
