"""Random shapes of the modules that only graphs or frames have, side by side in a top: what bench/area.py fits them to.

Random chains have none of these, and in a graph a join is a few LUTs beside stages of thousands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scaflow.hw.design import Instance
from scaflow.hw.mem import write_memories
from scaflow.model.files import whole_folder
from scaflow.quant.golden.current_pe import CurrentPe
from scaflow.quant.golden.frame_close import FrameClose
from scaflow.quant.golden.frame_split import FrameSplit
from scaflow.quant.golden.lif_neuron import LifNeuron
from scaflow.quant.golden.spike_sum import SpikeSum
from scaflow.quant.golden.stream_fork import StreamFork
from scaflow.quant.golden.stream_join import StreamJoin

PARTS = ("stream_fork", "stream_join", "current_pe", "lif_neuron", "spike_sum", "frame_split", "frame_close")
EACH = 3  # instances of a module in a design


def random_parts(seed: int) -> list[Instance]:
    rng = np.random.default_rng(seed)
    drawn = [DRAWS[module](rng) for module in PARTS for _ in range(EACH)]
    return [
        Instance(module, f"part{i}", cfg, *(sum(widths.values()) for widths in _streams(cfg)))
        for i, (module, cfg) in enumerate(zip(np.repeat(PARTS, EACH).tolist(), drawn, strict=True))
    ]


def _upto(rng: np.random.Generator, limit: int) -> int:
    """Mostly few: what many take is told by them, and they are mapped sooner."""
    return int(np.exp(rng.uniform(0, np.log(limit + 1))))


def _fork(rng: np.random.Generator) -> StreamFork:
    return StreamFork(int(rng.integers(1, 200)), int(rng.integers(2, 5)))


def _join(rng: np.random.Generator) -> StreamJoin:
    lanes = _upto(rng, 64)
    if rng.random() < 0.4:  # spikes
        a, b = (int(rng.choice([1, 1, 2, 3])) for _ in range(2))
        return StreamJoin(lanes, a, b, 0, 0, max(a, b) + 1, 0)
    (a, b), shift = rng.integers(5, 15, 2).tolist(), int(rng.integers(0, 4))
    a_shift, b_shift = (shift, 0) if rng.random() < 0.5 else (0, shift)
    return StreamJoin(lanes, a, b, a_shift, b_shift, max(a + a_shift, b + b_shift) + 1, 1)


def _current(rng: np.random.Generator) -> CurrentPe:
    direct, weight_bits = int(rng.random() < 0.3), int(rng.integers(2, 9))
    lookup = 0 if direct else int(rng.choice([0, 1]))
    in_bits = 8 if direct else int(rng.integers(2, 7)) if lookup else int(rng.choice([1, 1, 2]))
    pe, simd = _upto(rng, 24), _upto(rng, 8)
    folds = int(rng.choice([1, 1, 2, 3, 4, 8]))
    depth = folds * int(rng.integers(4, 65)) << (in_bits if lookup else 0)
    top = (1 << (weight_bits - 1)) - 1
    weights = np.clip(np.rint(rng.normal(0, max(0.6, top / 2.5), (simd, depth, pe))), -top, top).astype(int)
    if lookup:
        weights[:, :: 1 << in_bits] = 0  # the word of no spike
    acc_bits = weight_bits + (in_bits if not lookup else 0) + int(rng.integers(3, 7))
    steps = int(rng.choice([1, 2, 4, 4, 8]))
    return CurrentPe(pe, simd, in_bits, lookup, 1, depth, folds, steps, direct, weight_bits, acc_bits, weights)


def _neuron(rng: np.random.Generator) -> LifNeuron:
    pe, folds, steps = _upto(rng, 32), int(rng.choice([1, 1, 2, 3, 4, 8])), int(rng.choice([1, 2, 4, 4, 8]))
    acc_bits, fraction = int(rng.integers(6, 15)), int(rng.integers(2, 6))
    reach = 1 << (acc_bits + fraction - 2)
    bias, threshold = rng.integers(-reach // 4, reach // 4, (folds, pe)), rng.integers(1, reach, (folds, pe))
    leak, soft = int(rng.choice([0, 1, 1, 2])), int(rng.random() < 0.33)
    kind, v_bits, more = rng.random(), acc_bits + fraction + 2, {}
    if kind < 0.25:  # any decay
        leak, more = 0, {"decay_factor": int(rng.integers(1, 128)) * 2 + 1, "decay_shift": 8}
    elif kind < 0.4:
        soft = 2
    elif kind < 0.65:  # the membranes of a map
        steps, more = 1, {"map_pixels": _upto(rng, 600) + 4}
    return LifNeuron(pe, folds, steps, acc_bits, v_bits, fraction, leak, soft, bias, threshold, **more)


def _sum(rng: np.random.Generator) -> SpikeSum:
    channels, in_bits, size = _upto(rng, 64), int(rng.choice([1, 1, 2, 3])), int(rng.choice([2, 2, 2, 3, 4]))
    out_bits = (size * size * ((1 << in_bits) - 1)).bit_length()
    side, steps = int(rng.integers(size, 33)), int(rng.choice([1, 2, 4, 8]))
    return SpikeSum(channels, in_bits, out_bits, side, side, size, steps)


def _split(rng: np.random.Generator) -> FrameSplit:
    return FrameSplit(int(rng.integers(1, 17)))


def _close(rng: np.random.Generator) -> FrameClose:
    return FrameClose(int(rng.integers(4, 100)), int(rng.choice([1, 1, _upto(rng, 3000) + 1])), int(rng.random() < 0.7))


DRAWS = dict(zip(PARTS, (_fork, _join, _current, _neuron, _sum, _split, _close), strict=True))


def _streams(cfg: Any) -> tuple[dict[str, int], dict[str, int]]:
    """The streams in and out, with the bits of a beat."""
    match cfg:
        case StreamFork():
            return {"in": cfg.width}, {"out": cfg.width}
        case StreamJoin():
            return {"a": cfg.lanes * cfg.a_bits, "b": cfg.lanes * cfg.b_bits}, {"out": cfg.lanes * cfg.out_bits}
        case CurrentPe():
            return {"in": cfg.simd * (cfg.in_bits + cfg.addr_bits) + 1}, {"out": cfg.pe * cfg.acc_bits}
        case LifNeuron():
            return {"in": cfg.pe * cfg.acc_bits + (cfg.map_pixels > 0)}, {"out": cfg.pe}
        case SpikeSum():
            return {"in": cfg.channels * cfg.in_bits}, {"out": cfg.channels * cfg.out_bits}
        case FrameSplit():
            return {"in": cfg.width + 2}, {"out": cfg.width, "ends": 1}
        case FrameClose():
            return {"in": cfg.width, "ends": 1}, {"out": cfg.width + 1}
    raise TypeError(f"{cfg} is no part")


def write_parts(parts: list[Instance], directory: Path) -> None:
    """A top with all ports of all parts, and the memory images beside it."""
    ports, instances = ["input logic clk", "input logic rst_n"], []
    with whole_folder(directory) as folder:
        for part in parts:
            given = [f".{k}({v!r})".replace("'", '"') for k, v in
                     write_memories(part.cfg, folder, f"{part.name}_").items()]  # fmt: skip
            wires = [".clk(clk)", ".rst_n(rst_n)"]
            for streams, (here, back) in zip(
                _streams(part.cfg), (("input", "output"), ("output", "input")), strict=True
            ):
                for role, bits in streams.items():
                    ways = part.cfg.outs if isinstance(part.cfg, StreamFork) and role == "out" else 1
                    for signal, way, width in (("valid", here, ways), ("ready", back, ways), ("data", here, bits)):
                        ports.append(f"{way} logic [{width - 1}:0] {part.name}_{role}_{signal}")
                        wires.append(f".{role}_{signal}({part.name}_{role}_{signal})")
            instances.append(f"  {part.module} #({', '.join(given)}) {part.name} ({', '.join(wires)});\n")
        text = ",\n  ".join(ports)
        (folder / "top.sv").write_text(f"module top (\n  {text}\n);\n{''.join(instances)}endmodule\n")
