"""What all tests share: how many threads each may take, and Verilator's compiled runtime."""

from __future__ import annotations

import os

# before torch is imported, for it and the processes that tests start: tests run side by side, and waiting threads spin
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Iterator

import pytest

from scaflow.sim import build


@pytest.fixture(autouse=True, scope="session")
def _one_runtime() -> Iterator[None]:
    """The runtime takes 10 s to compile: tests with builds in folders of their own share that of this folder."""
    shared = build.cache_root()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "runtime_root", lambda: shared)
        yield
