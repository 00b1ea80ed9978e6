"""Verilator builds, cached by what they are made of."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scaflow.model import caches, places, processes
from scaflow.model.files import complete_binary, whole_folder
from scaflow.sim import toolchain

RTL = Path(__file__).resolve().parent.parent / "hw" / "rtl"
CHECK = Path(__file__).resolve().parent / "stream_check.sv"
RUNTIME = ("verilated", "verilated_threads", "verilated_vcd_c", "verilated_vpi")  # of Verilator
JOBS = 2  # of the compiler at once
LARGE = 400_000  # bytes of C++ that one call of it takes

_FLAGS = (
    "--cc", "--exe", "--assert", "--prefix", "Vtop",
    "--x-initial", "unique",  # with +verilator+rand+reset+2: registers without reset start at random
    "-Wno-lint", "-Wno-style",  # lint() is for these; -Wno-fatal would let a refused parameter pass
    "--output-split", "100000",  # pieces that can be shared out
)  # fmt: skip


@dataclass(frozen=True)
class Engine:
    """What drives a simulation: its main program and how the design is compiled for it."""

    name: str
    main: Path  # C++
    flags: tuple[str, ...]  # of Verilator
    optimise: str  # of the compiler
    link: str = ""


COCOTB = Engine(
    name="cocotb",
    main=toolchain.COCOTB / "share/lib/verilator/verilator.cpp",
    # Python reaches the ports of the top, the rest stays optimisable; an unrolled loop compiles for long, runs briefly
    # C++17: precompiled headers of C++20 are a quarter larger
    flags=("--vpi", "--public-depth", "1", "--unroll-count", "2", "-CFLAGS", "-std=gnu++17"),
    optimise="-O1",  # measured: -O2 and -O3 compile longer and run no faster
    link=f"-L{toolchain.LIBRARIES} -lcocotbvpi_verilator",  # found again by the environment of the run
)
NATIVE = Engine(
    name="native",
    main=Path(__file__).resolve().parent / "native.cpp",
    flags=("-O3", "--x-assign", "fast", "-CFLAGS", "-std=gnu++20"),
    optimise="-O2",
)
MODULE = replace(COCOTB, optimise="-O0")  # for a module by itself: a third less to compile, and it runs no slower
BRIEF = replace(NATIVE, optimise="-O1")  # for a short run: a quarter less to compile, at most a tenth slower
MOMENT = replace(NATIVE, optimise="-O0")  # for a moment's: half of that to compile, two to three times slower


class BuildError(ValueError):
    """The design does not elaborate or compile; carries the tool's own words."""


def cache_root() -> Path:
    """`build/sim` of the working directory, or of $SCAFLOW_BUILD; or a place that can be written."""
    return places.generated("sim")


def runtime_root() -> Path:
    """Where Verilator's own runtime is kept, compiled: beside the builds."""
    return cache_root()


def sources_of(top: Path, library: Path = RTL) -> list[Path]:
    """`top` and every file of `library` that it instantiates, directly or not."""
    stems = {path.stem: path for path in library.glob("*.sv")}
    found, queue = {top.stem: top}, [top]
    while queue:
        words = set(re.findall(r"\b[a-z]\w*\b", _without_comments(queue.pop().read_text())))
        for stem in sorted(words & (stems.keys() - found.keys())):
            found[stem] = stems[stem]
            queue.append(stems[stem])
    return [found.pop(top.stem), *(found[stem] for stem in sorted(found))]


def _without_comments(text: str) -> str:
    """The tokens of `text`, one space apart."""
    pattern = r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/'
    return " ".join(re.sub(pattern, lambda match: match[1] or " ", text, flags=re.DOTALL).split())


def checks_of(sources: Sequence[Path]) -> str:
    """SystemVerilog text that binds `stream_check` to every stream port of every module of `sources`."""
    lines = []
    for path in sources:
        text = _without_comments(path.read_text())
        for name, header in re.findall(r"\bmodule\s+(\w+)(.*?\)\s*;)", text, flags=re.DOTALL):
            ports = set(re.findall(r"\w+", header))
            for role in sorted(port.removesuffix("_valid") for port in ports if port.endswith("_valid")):
                if {f"{role}_ready", f"{role}_data"} <= ports:
                    lines.append(_bind(name, role, f"{role}_valid", f"{role}_ready", f"{role}_data"))
            for role in sorted(port.removesuffix("_tvalid") for port in ports if port.endswith("_tvalid")):
                if f"{role}_tlast" in ports:  # others' modules have streams without it
                    payload = f"{{{role}_tlast, {role}_tdata}}"
                    lines.append(_bind(name, role, f"{role}_tvalid", f"{role}_tready", payload))
    return "\n".join(lines) + "\n"


def _bind(module: str, role: str, valid: str, ready: str, data: str) -> str:
    return (
        f"bind {module} stream_check #(.WIDTH($bits({data})), .STREAMS($bits({valid}))) check_{role} "
        f"(.clk(clk), .rst_n(rst_n), .valid({valid}), .ready({ready}), .data({data}));"
    )


def build(
    top: str,
    sources: Sequence[Path],
    parameters: Mapping[str, int | str] | None = None,
    *,
    trace: bool = False,
    engine: Engine = COCOTB,
) -> Path:
    """The executable simulation of `top`, built unless the cache holds it.

    The key is everything the executable is made of: source texts without comments, parameters, flags and tool
    versions, and the engine's main program. Memory images are read when it runs and are no part of it.

    Raises:
        BuildError: Verilator or the compiler refused the design.
        ValueError: a tool is missing.
    """
    arguments = [f"-G{name}={_literal(value)}" for name, value in sorted((parameters or {}).items())]
    flags = [*_FLAGS, *engine.flags, *(["--trace"] if trace else []), "--top-module", top]
    checks = checks_of(sources)
    parts = [toolchain.versions(), engine.link, engine.optimise, *flags, *arguments]
    parts += [CHECK.read_text(), checks, engine.main.read_text()]
    parts += [f"{path.name}\n{_without_comments(path.read_text())}" for path in sources]
    home = cache_root() / f"{top}-{_digest(*parts)}"
    executable = home / top
    with caches.taking(home):
        if complete_binary(executable):
            return executable
        with whole_folder(home) as shelf:
            scratch = shelf / ".scratch"  # no name of a module
            scratch.mkdir()
            os.replace(_compile(scratch, top, sources, checks, [*flags, *arguments], trace, engine), shelf / top)
            shutil.rmtree(scratch)
    caches.trim(home.parent)
    return executable


def lint(top: str, sources: Sequence[Path], parameters: Mapping[str, int | str] | None = None) -> None:
    """Verilator's every warning on `top`, none waived.

    Raises:
        BuildError: there is one.
    """
    arguments = [f"-G{name}={_literal(value)}" for name, value in (parameters or {}).items()]
    with tempfile.TemporaryDirectory(prefix="scaflow-lint-") as directory:
        scratch = Path(directory)
        names = _gather(scratch, sources)
        _call(top, scratch, [*toolchain.command(), "--lint-only", "-Wall", "--top-module", top, *arguments, *names])


def _compile(
    scratch: Path,
    top: str,
    sources: Sequence[Path],
    checks: str,
    flags: list[str],
    trace: bool,
    engine: Engine,
) -> Path:
    names = _gather(scratch, [engine.main, *sources, CHECK])
    (scratch / "stream_checks.sv").write_text(checks)
    command = [
        *toolchain.command(), *flags, "-Mdir", ".", "-o", top,
        *(["-LDFLAGS", engine.link] if engine.link else []),
        *names, "stream_checks.sv",
    ]  # fmt: skip
    _call(top, scratch, command)
    make = ["make", "-j", str(JOBS), "-f", "Vtop.mk", f"VM_TRACE={int(trace)}", f"OPT_FAST={engine.optimise}"]
    objects, header = _runtime(top, scratch, make), _header(top, scratch, make, trace, engine)
    texts = [*sorted(scratch.glob("Vtop*.cpp")), scratch / "src" / engine.main.name]
    wholes = {f"whole{number}": share for number, share in enumerate(_shares(texts))}
    for whole, share in wholes.items():
        lines = (f'#include "{path.relative_to(scratch)}"\n' for path in share)
        (scratch / f"{whole}.cpp").write_text("".join(lines))
    (scratch / "objects").symlink_to(objects)
    (scratch / "header").symlink_to(header)
    (scratch / "whole.mk").write_text(
        f"simulation: {' '.join(f'{whole}.o' for whole in wholes)} $(addprefix objects/,$(VK_GLOBAL_OBJS))\n"
        "\t$(CXX) $(OPT_FAST) $^ $(LDFLAGS) $(LDLIBS) -o $@\n"
        "whole%.o: whole%.cpp\n"
        "\t$(CXX) $(OPT_FAST) -include header/runtime.h $(CPPFLAGS) -c $< -o $@\n"
    )
    _call(top, scratch, [*make, "-f", "whole.mk", "simulation"])
    return scratch / "simulation"


def _shares(texts: Sequence[Path]) -> list[list[Path]]:
    """The C++ texts by calls of the compiler: one reads the headers once and sees what can be inlined; large designs
    are shared by the processors.
    """
    sizes = {path: path.stat().st_size for path in texts}
    shares: list[list[Path]] = [[] for _ in range(min(JOBS, 1 + sum(sizes.values()) // LARGE))]
    for path in sorted(texts, key=lambda path: -sizes[path]):
        min(shares, key=lambda share: sum(sizes[other] for other in share)).append(path)
    return [share for share in shares if share]


def _runtime(top: str, scratch: Path, make: list[str]) -> Path:
    """The objects of Verilator's own runtime, of which each simulation takes what it needs."""

    def compile_all(shelf: Path) -> None:
        rule = "$(CXX) $(OPT_GLOBAL) $(CPPFLAGS) -c $< -o $@"
        names = " ".join(f"{name}.o" for name in RUNTIME)
        folder = "$(VERILATOR_ROOT)/include"
        (scratch / "runtime.mk").write_text(f"{names}: %.o: {folder}/%.cpp\n\t{rule}\nruntime: {names}\n")
        _call(top, scratch, [*make, "-f", "runtime.mk", "runtime"])
        for name in RUNTIME:
            shutil.move(scratch / f"{name}.o", shelf)

    return _kept(f"runtime-{_digest(toolchain.versions())}", compile_all)


def _header(top: str, scratch: Path, make: list[str], trace: bool, engine: Engine) -> Path:
    """The headers of the runtime, precompiled: without them a small module takes three times as long to build. The
    compiler passes them over, and says nothing, where a macro or an option differs from those they were made with.
    """

    def compile_it(shelf: Path) -> None:
        headers = ("verilated.h", *(["verilated_vpi.h"] if "--vpi" in engine.flags else []))
        (scratch / "runtime.h").write_text("".join(f'#include "{header}"\n' for header in headers))
        rule = "$(CXX) $(OPT_FAST) $(CPPFLAGS) -x c++-header $< -o $@"
        (scratch / "header.mk").write_text(f"runtime.h.gch: runtime.h\n\t{rule}\n")
        _call(top, scratch, [*make, "-f", "header.mk", "runtime.h.gch"])
        for name in ("runtime.h", "runtime.h.gch"):
            shutil.move(scratch / name, shelf)

    return _kept(f"header-{_digest(toolchain.versions(), str(trace), engine.optimise, *engine.flags)}", compile_it)


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of what all builds share, filled by `make` where it is not there yet."""
    home = runtime_root() / name
    with caches.taking(home):
        if not home.exists():
            with whole_folder(home) as shelf:
                make(shelf)
    return home


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def _gather(scratch: Path, files: Sequence[Path]) -> list[str]:
    """The tools' links and copies of `files` in `scratch`; the names to call them by."""
    toolchain.lay_out(scratch)
    (scratch / "src").mkdir()
    for path in files:
        shutil.copyfile(path, scratch / "src" / path.name)
    return [f"src/{path.name}" for path in files]


def _call(top: str, scratch: Path, command: list[str]) -> None:
    """A tool of the build, in `scratch`, where all that its arguments name lies."""
    done = processes.run(command, cwd=scratch, env=toolchain.environment())
    if done.returncode:
        name = "make" if command[0] == "make" else "verilator"
        raise BuildError(f"{top}: {name} failed:\n{done.stdout[-6000:]}")


def _literal(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(int(value))


