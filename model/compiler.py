"""The C++ compiler for the parts of the program that are compiled where they run: $CXX as build systems set it, a
compiler with options or behind a launcher (`g++ -m64`, `ccache clang++`), else what is on the path.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping

USUAL = ("g++", "c++", "clang++")


def candidates(environment: Mapping[str, str] | None = None) -> Iterator[list[str]]:
    """Commands to try, best first: the words of $CXX, then the usual compilers that are on the path."""
    environment = os.environ if environment is None else environment
    path, named = environment.get("PATH", os.defpath), environment.get("CXX", "").strip()
    if named:
        yield _command(named, path)
    yield from ([found] for name in USUAL if (found := shutil.which(name, path=path)))


def _command(text: str, path: str) -> list[str]:
    """Its words as a shell divides them; but a program's path may have spaces without quotes."""
    parts = text.split(" ")
    for count in range(len(parts), 0, -1):
        program = os.path.expanduser(" ".join(parts[:count]))
        if shutil.which(program, path=path):
            return [program, *_words(" ".join(parts[count:]))]
    return _words(text)


def _words(text: str) -> list[str]:
    """At plain spaces where the quotes do not close."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
