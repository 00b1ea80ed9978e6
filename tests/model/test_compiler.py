"""$CXX as build systems set it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaflow.model.compiler import candidates


@pytest.fixture
def bin(tmp_path: Path) -> Path:
    """A folder of programs: g++, clang++, ccache, and one in a folder with spaces."""
    for name in ("g++", "clang++", "ccache", "my tools/g++"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tmp_path


def found(bin: Path, **variables: str) -> list[list[str]]:
    return list(candidates({"PATH": str(bin), **variables}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("g++", ["g++"]),
        ("g++ -m64", ["g++", "-m64"]),
        ("  g++   -m64  -pipe ", ["g++", "-m64", "-pipe"]),
        ("ccache g++", ["ccache", "g++"]),
        ("ccache g++ -std=c++20", ["ccache", "g++", "-std=c++20"]),
        ("g++ '-DNAME=a b' -m64", ["g++", "-DNAME=a b", "-m64"]),
        ('g++ -DQUOTE="\'"', ["g++", "-DQUOTE='"]),
        ("{bin}/my tools/g++", ["{bin}/my tools/g++"]),
        ("{bin}/my tools/g++ -m64", ["{bin}/my tools/g++", "-m64"]),
        ("'{bin}/my tools/g++' -m64", ["{bin}/my tools/g++", "-m64"]),
        ("ccache '{bin}/my tools/g++'", ["ccache", "{bin}/my tools/g++"]),
        ("{bin}/my\\ tools/g++ -m64", ["{bin}/my tools/g++", "-m64"]),
        ("none++ -m64", ["none++", "-m64"]),
        ("g++ -DOPEN='", ["g++", "-DOPEN='"]),
    ],
)
def test_the_words_of_cxx_come_first(bin: Path, text: str, words: list[str]) -> None:
    first, *others = found(bin, CXX=text.replace("{bin}", str(bin)))
    assert first == [word.replace("{bin}", str(bin)) for word in words]
    assert others == [[str(bin / "g++")], [str(bin / "clang++")]]


@pytest.mark.parametrize("variables", [{}, {"CXX": ""}, {"CXX": "  "}])
def test_without_cxx_what_is_on_the_path(bin: Path, variables: dict[str, str]) -> None:
    assert found(bin, **variables) == [[str(bin / "g++")], [str(bin / "clang++")]]


def test_a_home_is_read(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(bin))
    assert found(bin, CXX="~/my tools/g++ -m64")[0] == [f"{bin}/my tools/g++", "-m64"]
    assert found(bin, CXX="~/g++ -m64")[0] == [f"{bin}/g++", "-m64"]


def test_no_compiler_at_all(tmp_path: Path) -> None:
    assert found(tmp_path) == []
