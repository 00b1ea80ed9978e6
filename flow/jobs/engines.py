"""The engines there are, and which one a user asks for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from scaflow.flow.jobs.cluster import Cluster
from scaflow.flow.jobs.job import Engine
from scaflow.flow.jobs.local import Local
from scaflow.model.threads import processors


def engine_of(address: str | None, jobs: int | None, say: Callable[[str], None]) -> AbstractContextManager[Engine]:
    """Processes of this machine, or the Ray cluster at `address`.

    Args:
        jobs: at once; None: as many as there are processors.

    Raises:
        ValueError: the cluster cannot be used.
    """
    return Local(jobs or processors()) if address is None else Cluster(address, jobs, say)
