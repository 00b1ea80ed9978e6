"""Freed memory is there for the next step: without page faults."""

import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from scaflow.model.memory import keep_freed
if "keep" in sys.argv and not keep_freed(): sys.exit("no mallopt")
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10): torch.zeros(10 << 20)  # 40 MB: beyond what malloc serves from its heap unasked
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def faults(*arguments: str) -> int:
    result = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False)
    if result.stderr.strip() == "no mallopt":
        pytest.skip("this C library has no mallopt")
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


def test_freed_memory_is_used_again():
    assert faults("keep") < 500 < faults()
