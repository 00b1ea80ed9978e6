"""Fits the area model (hw/area.py) to synthesised instances, and measures its error on others. See bench/area.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from scaflow.hw.area import FAMILIES, FITTED, Area, Model, area, features
from scaflow.hw.layers import Instance
from scaflow.hw.ram import Family
from scaflow.hw.synth import Resources
from scaflow.model.files import write_json


@dataclass(frozen=True)
class Sample:
    """One synthesised instance."""

    family: Family
    stage: str  # network and stage: the instances of a stage are held against the model together
    module: str
    cfg: Any
    cells: Resources
    feed: int


def fit(samples: Sequence[Sample]) -> Model:
    """Non-negative least squares of the relative error, for each family, module and resource."""
    model: Model = {}
    for family in FAMILIES:
        for module in sorted({s.module for s in samples if s.family == family}):
            part = [s for s in samples if s.family == family and s.module == module]
            rows = [features(module, s.cfg, family) for s in part]
            names = list(rows[0])
            counts = np.array([[row[name] for name in names] for row in rows])
            found = {}
            for resource in FITTED:
                cells = np.array([s.feed if resource == "feed" else getattr(s.cells, resource) for s in part], float)
                weight = 1 / (cells + 20)  # a handful of cells more or less in a tiny instance is no matter
                solved, _ = nnls(counts * weight[:, None], cells * weight)
                found[resource] = {n: float(f"{c:.4g}") for n, c in zip(names, solved, strict=True) if c > 1e-6}
            model.setdefault(family, {})[module] = found
    return model


def extended(model: Model, samples: Sequence[Sample], names: Sequence[str]) -> Model:
    """A model with coefficients of these features, fitted to what it lacks of the samples; all others stay."""
    without = {
        family: {
            module: {resource: {n: c for n, c in found.items() if n not in names} for resource, found in of.items()}
            for module, of in modules.items()
        }
        for family, modules in model.items()
    }
    for family in FAMILIES:
        for module in sorted({s.module for s in samples if s.family == family}):
            part = [s for s in samples if s.family == family and s.module == module]
            counts = np.array([[features(module, s.cfg, family).get(name, 0.0) for name in names] for s in part])
            predicted = [area([Instance(s.module, "", s.cfg, 0, 0)], family, without) for s in part]
            for resource in FITTED:
                cells = np.array([s.feed if resource == "feed" else getattr(s.cells, resource) for s in part], float)
                weight = 1 / (cells + 20)
                lacks = cells - [getattr(one, resource) for one in predicted]
                solved, _ = nnls(counts * weight[:, None], lacks * weight)
                without[family][module][resource] |= {
                    n: float(f"{c:.4g}") for n, c in zip(names, solved, strict=True) if c > 1e-6
                }
    return without


def errors(model: Model, samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """By family: relative error of the LUTs of a stage (median, 90th percentile, worst), and miscounted block RAMs."""
    result: dict[str, dict[str, float]] = {}
    for family in FAMILIES:
        stages: dict[str, tuple[Resources, Area]] = {}
        for s in samples:
            if s.family == family and not s.module.startswith("axis"):
                cells, predicted = stages.get(s.stage, (Resources(), Area()))
                one = area([Instance(s.module, "", s.cfg, 0, 0)], family, model)
                stages[s.stage] = (cells + s.cells, predicted + one)
        if not stages:
            continue
        off = np.array([abs(p.lut - c.lut) / c.lut for c, p in stages.values()])
        result[family] = {
            "stages": len(stages),
            "median": float(np.median(off)),
            "most": float(np.quantile(off, 0.9)),
            "worst": float(off.max()),
            "bram_miscounted": sum(p.bram != c.bram for c, p in stages.values()),
            "dsp_miscounted": sum(p.dsp != c.dsp for c, p in stages.values()),
        }
    return result


def write(model: Model, error: dict[str, Any], path: Path) -> None:
    """Write the artifact, whole or not at all."""
    write_json(path, {"error": error, "model": model})


def netlist_feeds(netlist: dict[str, Any], top: str) -> dict[str, int]:
    """LUT positions that nextpnr-ecp5 adds to each instance of a mapped top.

    Two for the head of each carry chain, two for each carry that leaves its chain, two for each LUT RAM cell.
    """
    result = {}
    for name, module in netlist["modules"].items():
        instance = name.partition(f"${top}.")[2]
        if not instance:
            continue
        cells = module["cells"].values()
        adders = [cell["connections"] for cell in cells if cell["type"] == "CCU2C"]
        chained = {adder["CIN"][0] for adder in adders}
        carries = {adder["COUT"][0] for adder in adders if adder.get("COUT")}
        used: set[Any] = set()
        for cell in cells:
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "input" and not (cell["type"] == "CCU2C" and port == "CIN"):
                    used.update(bits)
        heads = sum(adder["CIN"][0] not in carries for adder in adders)
        leaving = sum(carry not in chained or carry in used for carry in carries)
        rams = sum(cell["type"] == "TRELLIS_DPR16X4" for cell in cells)
        result[instance] = 2 * (heads + leaving + rams)
    return result
