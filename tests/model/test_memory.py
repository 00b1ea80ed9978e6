"""Freed memory is there for the next step: without page faults."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from scaflow.model.memory import keep_freed
if "keep" in sys.argv: assert keep_freed()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10): torch.zeros(10 << 20)  # 40 MB: beyond what malloc serves from its heap unasked
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
# The heap takes some rounds to hold a place of every alignment asked for: the last of ten have to be free of faults.
print([faults() for _ in range(10)][-1])
"""


def faults(*arguments: str) -> int:
    result = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of the GNU C library")
def test_freed_memory_is_used_again():
    assert faults("keep") < 500 < faults()
