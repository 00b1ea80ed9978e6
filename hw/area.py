"""The area model: LUTs, flip-flops, block RAMs and DSPs of a design from its parameters, without synthesis.

    cells of an instance = sum over features f of its module of  coefficient[f] * f(parameters)

A feature is a count one can point at in the module (bits of its adders, bits of its neurons, cells of its memories);
its coefficient is what Yosys makes of one of them. The coefficients, none negative, stand in area.json:
`python bench/area.py` fits them to syntheses of random networks and measures the error on networks that it has not
seen. Block RAMs and DSPs are counted by rule.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from scaflow.hw.area_array import Lanes, array, bank, deep_blocks, in_dsp
from scaflow.hw.layers import Instance
from scaflow.hw.ram import Family, Ram, Style, ram
from scaflow.quant.golden.beats import address_bits, ceil_div
from scaflow.quant.golden.mac_array import DEEPEST, part_bits

COEFFICIENTS = Path(__file__).with_name("area.json")
FAMILIES: tuple[Family, ...] = ("ecp5", "xc7")  # that coefficients are fitted for
FITTED_AS: dict[Family, Family] = {"ecp5": "ecp5", "xc7": "xc7", "xcup": "xc7"}  # the same LUTs
FITTED = ("lut", "ff", "feed")
NARROW = 12  # bits whose lowest one is found without a carry chain in synapse_event.sv
SIDE = 18  # bits of a side of a block RAM
MANY = 64  # words of constants and of membranes, beyond which they are counted by themselves
SHALLOW = 64  # a queue of more beats is kept in block RAM, as stream_fifo.sv asks

Features = dict[str, float]
Model = dict[str, dict[str, dict[str, Features]]]  # family, module, resource, feature -> coefficient


@dataclass(frozen=True)
class Area:
    """What a part of a design takes, in the units of `hw.synth.Resources`; LUTs and flip-flops are not whole.

    feed: LUT positions that the ECP5's placer adds, to feed carry chains and to write LUT RAM; 0 for xc7.
    """

    lut: float = 0.0
    ff: float = 0.0
    bram: float = 0.0
    dsp: int = 0
    feed: float = 0.0

    def __add__(self, other: Area) -> Area:
        return Area(
            self.lut + other.lut,
            self.ff + other.ff,
            self.bram + other.bram,
            self.dsp + other.dsp,
            self.feed + other.feed,
        )

    @property
    def placed(self) -> float:
        """LUT positions of the device."""
        return self.lut + self.feed


@dataclass(frozen=True)
class Device:
    """What there is of a device: Lattice FPGA-DS-02012; AMD DS180, DS190, DS890, DS891 and DS987."""

    name: str
    family: Family
    lut: int
    ff: int
    bram: int  # DP16KD; RAMB36
    dsp: int
    uram: int = 0  # UltraRAM has no contents when a device is configured, so that no weights can be in it


DEVICES = {
    device.name: device
    for device in (
        Device("ecp5-25", "ecp5", 24_288, 24_288, 56, 28),
        Device("ecp5-45", "ecp5", 43_848, 43_848, 108, 72),
        Device("ecp5-85", "ecp5", 83_640, 83_640, 208, 156),
        Device("xc7a35t", "xc7", 20_800, 41_600, 50, 90),
        Device("xc7a100t", "xc7", 63_400, 126_800, 135, 240),
        Device("xc7a200t", "xc7", 134_600, 269_200, 365, 740),
        Device("xc7z010", "xc7", 17_600, 35_200, 60, 80),
        Device("xc7z020", "xc7", 53_200, 106_400, 140, 220),
        Device("xczu3eg", "xcup", 70_560, 141_120, 216, 360),
        Device("xczu7ev", "xcup", 230_400, 460_800, 312, 1_728, 96),
        Device("xczu9eg", "xcup", 274_080, 548_160, 912, 2_520),
        Device("xck26", "xcup", 117_120, 234_240, 144, 1_248, 64),
        Device("xcku5p", "xcup", 216_960, 433_920, 480, 1_824, 64),
        Device("xcvu9p", "xcup", 1_182_240, 2_364_480, 2_160, 6_840, 960),
    )
}


def area(instances: Iterable[Instance], family: Family, model: Model | None = None) -> Area:
    """The area of some instances together.

    Raises:
        ValueError: a module that the model does not know.
    """
    model = model or coefficients()
    total = Area()
    for instance in instances:
        known = model[FITTED_AS[family]].get(instance.module)
        if known is None:
            raise ValueError(
                f"area: no coefficients for module {instance.module!r} on {family} in {COEFFICIENTS.name};"
                " run `python bench/area.py`"
            )
        values = features(instance.module, instance.cfg, family)
        figures = {name: sum(c * values[f] for f, c in known[name].items()) for name in FITTED}
        blocks, dsps = counted(instance.module, instance.cfg, family)
        total += Area(figures["lut"], figures["ff"], blocks, dsps, figures["feed"])
    return total


def served_areas(
    instance: Instance, neurons: Sequence[int], family: Family, lanes: Lanes | None = None
) -> list[Area]:
    """The areas of a processing element by how many of its sums are served a cycle: its array is counted once.

    Args:
        lanes: what is known of its weights, where they are not in it.
    """
    known = coefficients()[FITTED_AS[family]][instance.module]
    lanes = lanes or lanes_of(instance.cfg)
    sums = _sums(instance.cfg, family, lanes) | {"one": 1.0}
    blocks, dsps = _array_counted(instance.cfg, family, None if instance.cfg.lookup else lanes)
    once = {name: float(sum(c * sums[f] for f, c in known[name].items() if f in sums)) for name in FITTED}
    array = Area(once["lut"], once["ff"], blocks, dsps, once["feed"])
    of = Neurons.of(instance.cfg)
    return [array + _served_area(replace(of, neurons=count), family) for count in neurons]


@cache
def coefficients() -> Model:
    """The coefficients of area.json."""
    model: Model = json.loads(COEFFICIENTS.read_text())["model"]
    return model


def features(module: str, cfg: Any, family: Family) -> Features:
    """What the model counts in an instance; `one` is the instance itself."""
    if module not in _MODULES:
        raise ValueError(f"area: module {module!r} has no features in hw/area.py; add them and fit again")
    return {"one": 1.0} | {name: float(value) for name, value in _MODULES[module][0](cfg, family).items()}


def counted(module: str, cfg: Any, family: Family) -> tuple[float, int]:
    """Block RAMs and DSPs of an instance, by rule."""
    rule = _MODULES[module][1]
    return rule(cfg, family) if rule else (0.0, 0)


# --- what there is in a module ----------------------------------------------------------------------------------------


def _memory(found: Ram) -> Features:
    return {"lut_ram": found.luts, "ram_mux": found.muxed, "ram_logic": found.registers}


def _two(width: int) -> Ram:
    """A queue of two beats, which is in flip-flops."""
    return Ram(registers=2 * width)


def _zeros(number: int) -> int:
    """Zeros at the low end of a binary number."""
    return (number & -number).bit_length() - 1


def summed(factor: int) -> list[int]:
    """Of the sums that make a product with a number, how many bits each is wider than what is multiplied.

    A digit of the number's non-adjacent form that is not 0 is a sum, but the highest, from which they are shifted.
    """
    places = (3 * factor ^ factor) >> 1
    return [places.bit_length() - 1 - i for i in range(places.bit_length() - 1) if places >> i & 1]


def _selected(bits: int, ways: int) -> Features:
    """Bits in a selection of one of so many; it is cheaper where the number is a power of two."""
    whole = ways & (ways - 1) == 0
    return {"selected_bits": bits * (ways - 1) * whole, "oddly_selected_bits": bits * (ways - 1) * (not whole)}


def lanes_of(cfg: Any) -> Lanes:
    """Of mac_array in a module; each part of a pattern is a lane of its own, whose words are shifted."""
    if not getattr(cfg, "lookup", 0):
        return Lanes.of(cfg.weights)
    each = part_bits(cfg.in_bits, cfg.lookup, cfg.places)
    parts = np.stack([cfg.weights << j * each for j in range(cfg.lookup)], axis=1).reshape(-1, *cfg.weights.shape[1:])
    return Lanes.of(parts)


def _sums(cfg: Any, family: Family, lanes: Lanes | None = None) -> Features:
    """Of mac_array in a processing element."""
    in_bits = 1 if cfg.lookup else cfg.in_bits
    return array(lanes or lanes_of(cfg), in_bits, cfg.weight_bits, cfg.acc_bits, family)


def _levels(cfg: Any) -> int:
    """Levels a neuron is given: bias, threshold, and where a reset puts its membrane."""
    return 3 if cfg.v_reset.size else 2


@dataclass(frozen=True)
class Neurons:
    """What the area of lif_pe depends on beside its array."""

    pe: int
    neurons: int
    folds: int
    time_steps: int
    acc_bits: int
    v_bits: int
    leak_shift: int
    soft_reset: int
    direct: int
    step_bits: int  # of a synapse step, where it is held; else 0
    decay_factor: int
    decay_shift: int
    map_pixels: int
    levels: int

    @classmethod
    def of(cls, cfg: Any) -> Neurons:
        step = cfg.simd * (cfg.in_bits + cfg.addr_bits) + 1 if cfg.direct else 0
        shape = (cfg.pe, cfg.neurons, cfg.folds, cfg.time_steps, cfg.acc_bits, cfg.v_bits)
        decay = (cfg.decay_factor, cfg.decay_shift)
        return cls(*shape, cfg.leak_shift, cfg.soft_reset, cfg.direct, step, *decay, cfg.map_pixels, _levels(cfg))

    @property
    def rounds(self) -> int:
        return ceil_div(self.pe, self.neurons)


def _updated(cfg: Any, neurons: int, words: int, levels: int, family: Family) -> tuple[Features, Ram]:
    """Of lif_update, with so many neurons, and words of constants and membranes; and the memory of the latter."""
    bits = neurons * cfg.v_bits
    per_lut = 16 if family == "ecp5" else 64
    constants = min(levels * bits, 1 << min(words, 20)) if words > 1 else 0
    membranes = bits if cfg.time_steps > 1 or cfg.map_pixels else 0  # a pixel of one step needs none
    deep, many = _deep(cfg, words), words > MANY
    held = _membranes(cfg, neurons, words, family)
    found = {
        "neuron_bits": membranes,
        "neurons": neurons,
        "leaking_bits": membranes if cfg.leak_shift else 0,
        "scaled_bits": neurons * sum(cfg.v_bits + shift for shift in summed(cfg.decay_factor)) if membranes else 0,
        "scaled_sums": neurons * len(summed(cfg.decay_factor)) if membranes else 0,
        "delayed_bits": membranes if cfg.soft_reset == 2 else 0,
        "soft_bits": membranes if cfg.soft_reset == 1 else 0,
        "folded_bits": membranes if _held(cfg, words) > 1 and not deep else 0,
        "deep_bits": membranes if deep else 0,  # registers behind a block RAM
        # one step: a sum and a comparison, or without folds a comparison with a constant, bit by bit
        "one_step_bits": bits if not membranes and words > 1 else 0,
        "compared_bits": neurons * cfg.acc_bits if not membranes and words == 1 else 0,
        "constants": constants * ceil_div(words, per_lut),
        # so many folds that their memories are put together from several
        "many": many,
        "many_constants": constants * ceil_div(words, per_lut) * many,
        "many_held": (held.luts + held.muxed) * many,
        "counter_bits": address_bits(_held(cfg, words)) + address_bits(cfg.time_steps),
    }
    return found, held


def _held(cfg: Any, words: int) -> int:
    """Words of membranes: of the folds, and of all pixels of a map."""
    return max(1, int(cfg.map_pixels)) * words


def _deep(cfg: Any, words: int) -> bool:
    """Are the membranes of so many words of neurons those of a map, in block RAM?"""
    return bool(cfg.map_pixels * words > SHALLOW)


def _membranes(cfg: Any, neurons: int, words: int, family: Family) -> Ram:
    """Of the folds, or of a map. Where no leak is between it and a register, block RAM can be read."""
    held, bits = _held(cfg, words), neurons * cfg.v_bits
    if cfg.map_pixels:
        return ram(family, held, bits, "block" if _deep(cfg, words) else "lut") if held > 1 else Ram()
    if held == 1 or cfg.time_steps == 1:
        return Ram()
    straight = cfg.soft_reset == 2 or (cfg.leak_shift < 2 and (cfg.decay_factor, cfg.decay_shift) == (1, 0))
    if held > 2 and straight:
        return ram(family, held, bits, collides=True)
    return ram(family, held, bits, "lut")


def _lif_pe(cfg: Any, family: Family) -> Features:
    return {**_sums(cfg, family), **_served(Neurons.of(cfg), family)}


@cache
def _served_area(cfg: Neurons, family: Family) -> Area:
    """Of lif_pe without its array."""
    own, known = _served(cfg, family), coefficients()[FITTED_AS[family]]["lif_pe"]
    lut, ff, feed = (float(sum(c * own[f] for f, c in known[n].items() if f in own)) for n in FITTED)
    return Area(lut, ff, _membranes(cfg, cfg.neurons, cfg.folds * cfg.rounds, family).blocks, 0, feed)


def _served(cfg: Neurons, family: Family) -> Features:
    words, narrow = cfg.folds * cfg.rounds, cfg.rounds > 1
    neurons, membranes = _updated(cfg, cfg.neurons, words, cfg.levels, family)
    memories = ram(family, 16, cfg.pe, "lut") + membranes
    if cfg.direct:
        memories += ram(family, 2 * words, cfg.neurons * cfg.acc_bits, "lut")
        memories += _two(cfg.step_bits)
    return {
        **_memory(memories),
        **neurons,
        "direct": cfg.direct,
        # narrow: the sums that are served, a selection of them, and the spikes that are gathered
        "narrow": narrow,
        "round_bits": address_bits(cfg.rounds) if narrow else 0,
        "held_bits": cfg.pe * cfg.acc_bits if narrow else 0,
        "gathered_bits": cfg.pe if narrow else 0,
        **_selected(cfg.neurons * cfg.acc_bits, cfg.rounds),
    }


def _lif_neuron(cfg: Any, family: Family) -> Features:
    neurons, membranes = _updated(cfg, cfg.pe, cfg.folds, _levels(cfg), family)
    return {**_memory(ram(family, 16, cfg.pe, "lut") + membranes), **neurons, "held_bits": cfg.pe * cfg.acc_bits}


def _current_pe(cfg: Any, family: Family) -> Features:
    sums = cfg.pe * cfg.acc_bits
    memories = ram(family, 16, sums, "lut")
    if cfg.direct:
        memories += ram(family, 2 * cfg.folds, sums, "lut") + _two(cfg.simd * (cfg.in_bits + cfg.addr_bits) + 1)
    return {
        **_sums(cfg, family),
        **_memory(memories),
        "direct": cfg.direct,
        "counter_bits": address_bits(cfg.folds) + address_bits(cfg.time_steps) if cfg.direct else 0,
    }


def _lif_pe_counted(cfg: Any, family: Family) -> tuple[float, int]:
    blocks, dsps = _array_counted(cfg, family)
    return blocks + _membranes(cfg, cfg.neurons, cfg.folds * cfg.rounds, family).blocks, dsps


def _lif_neuron_counted(cfg: Any, family: Family) -> tuple[float, int]:
    return _membranes(cfg, cfg.pe, cfg.folds, family).blocks, 0


def _direct_pe(cfg: Any, family: Family) -> Features:
    compared = cfg.time_steps * cfg.pe * cfg.acc_bits
    return {
        **_sums(cfg, family),
        **_memory(ram(family, 16, cfg.time_steps * cfg.pe, "lut")),
        # comparisons with constants, or with those of the fold
        "compared_bits": compared if cfg.folds == 1 else 0,
        "chained_bits": compared if cfg.folds > 1 else 0,
        "chosen_bits": compared * address_bits(cfg.folds) if cfg.folds > 2 else 0,
        "spikes": cfg.time_steps * cfg.pe,
        "held_bits": cfg.pe * cfg.acc_bits,
        "counter_bits": address_bits(cfg.folds),
    }


def _array_counted(cfg: Any, family: Family, lanes: Lanes | None = None) -> tuple[float, int]:
    """A lane that stands for no channel, as there are more lanes than channels, is left out, and of a block RAM the
    bits of a neuron that stands for none in any fold."""
    found, parts = lanes or Lanes.of(cfg.weights), max(1, cfg.lookup)
    dsps = found.lanes * cfg.pe if not cfg.lookup and in_dsp(cfg.in_bits, cfg.weight_bits, family) else 0
    return _blocks(cfg, found, found.working, family, parts), dsps


def _blocks(cfg: Any, lanes: Lanes, pe: int, family: Family, reads: int = 1) -> float:
    """Block RAMs of the weights."""
    if cfg.depth > DEEPEST:
        return deep_blocks(lanes, cfg.weight_bits, family, reads)
    return lanes.lanes * bank(pe, cfg.depth, cfg.weight_bits, family, reads).blocks


def _readout(cfg: Any, family: Family) -> Features:
    return {
        **array(Lanes.of(cfg.weights), 1, cfg.weight_bits, cfg.logit_bits, family),
        "logit_bits": cfg.classes * cfg.logit_bits,
        # frames: the sums of a recording, which are added as a bias is
        **_memory(ram(family, cfg.classes, cfg.logit_bits, "lut") if cfg.frames else Ram()),
        "frame_bits": cfg.logit_bits if cfg.frames else 0,
        "arg_max_bits": cfg.logit_bits + address_bits(cfg.classes),
        "bias_bits": min(cfg.logit_bits, 1 << cfg.classes) * ceil_div(cfg.classes, 16 if family == "ecp5" else 64),
    }


def _readout_counted(cfg: Any, family: Family) -> tuple[float, int]:
    return _blocks(cfg, Lanes.of(cfg.weights), cfg.classes, family), 0


def _window_buffer(cfg: Any, family: Family) -> Features:
    pointer = address_bits(cfg.depth) + 1
    position = (max(cfg.height, cfg.width) + 2 * cfg.padding + cfg.stride).bit_length() + 1
    kernel = address_bits(cfg.kernel_h * cfg.kernel_w)
    moving = cfg.out_width > 1 or cfg.out_height > 1
    # a sum with a multiple of 2^n is that many bits shorter
    row_sum = pointer - _zeros(cfg.width * cfg.time_steps)
    pixel_sum = pointer - _zeros(cfg.time_steps)
    store = ram(family, cfg.depth, cfg.word_bits, collides=True)
    return {
        **_memory(store),
        "pointer_bits": pointer,
        "row_sum_bits": row_sum * moving,
        "pixel_sum_bits": pixel_sum * moving,
        "padded_sum_bits": row_sum + pixel_sum if cfg.padding else 0,
        "table_bits": row_sum * (cfg.kernel_h - 1) * moving,
        "position_bits": position * moving,
        "padded_position_bits": position if cfg.padding else 0,
        "kernel_bits": kernel,
        "padded_kernel_bits": kernel if cfg.padding else 0,
        "kernel_rows": cfg.kernel_h,
        "block_word_bits": cfg.word_bits if store.blocks else 0,
        "counter_bits": address_bits(cfg.folds) + address_bits(cfg.time_steps),
        "word_bits": cfg.word_bits,
    }


def _window_buffer_counted(cfg: Any, family: Family) -> tuple[float, int]:
    return ram(family, cfg.depth, cfg.word_bits, collides=True).blocks, 0


def _synapse_list(cfg: Any, family: Family) -> Features:
    act = cfg.simd * cfg.in_bits
    return {
        "act_bits": act,
        **_selected(act, cfg.steps),
        "held_bits": act * cfg.steps,
        "address_bits": cfg.addr_bits,
        "folded_address_bits": cfg.addr_bits if cfg.folds > 1 else 0,
        "stepped_address_bits": cfg.addr_bits if cfg.steps > 1 else 0,
        "step_bits": address_bits(cfg.steps) if cfg.steps > 1 else 0,
    }


def _synapse_word(cfg: Any, family: Family) -> Features:
    simd = min(cfg.simd, ceil_div(cfg.kept, cfg.together))  # a bank of no channel is left out
    groups, grouped = ceil_div(cfg.kept, cfg.together * simd), cfg.together > 1
    step = simd * (cfg.together + address_bits(groups)) + address_bits(cfg.pixels) + 1
    return {
        **_memory(_two(step)),
        "banks": simd,
        "event_bits": simd * groups,
        "chained_event_bits": simd * groups if groups > NARROW else 0,
        "grouped_bits": cfg.kept if grouped else 0,
        "index_bits": simd * address_bits(groups) if groups > 1 else 0,
        "held_bits": 2 * (simd * groups + cfg.kept * grouped),
        "place_bits": address_bits(cfg.pixels),
    }


def _window_row(cfg: Any, family: Family) -> Features:
    word, hangs = cfg.kept * cfg.in_bits, cfg.padding > 0
    edges = sum(min(cfg.kernel_w, cfg.padding) for _ in range(2)) * word if hangs else 0
    return {
        # words that can lie beyond an edge, and what tells which
        "edge_bits": min(edges, cfg.kernel_w * word),
        "edge_places": cfg.out_width if hangs else 0,
        "counter_bits": address_bits(cfg.takes + cfg.over) + address_bits(cfg.height) + address_bits(cfg.time_steps),
        "row_bits": cfg.kernel_w * word,
        "past_bits": (cfg.kernel_w - 1) * word * cfg.time_steps,
    }


def _event_flags(cfg: Any, family: Family) -> Ram:
    """The ring of the flags, in memories of two rows or one; event_window.sv says which, and what is in block RAM."""
    bits = address_bits(cfg.width) + address_bits(cfg.time_steps)
    flags = ceil_div(cfg.simd, cfg.shared_by)
    span = 2 if flags <= 9 else 1
    memories: int = cfg.windows.rows // span
    return memories * ram(family, 1 << bits, flags, "block" if bits > 4 else "auto", lanes=span)


def _event_place_bits(cfg: Any) -> int:
    return address_bits(cfg.windows.rows) + address_bits(cfg.width) + address_bits(cfg.time_steps)


def _synapse_event(cfg: Any, family: Family) -> Features:
    simd = min(cfg.simd, cfg.kept)  # a bank of no channel is left out
    kernel = cfg.kernel_h * cfg.kernel_w
    groups = ceil_div(cfg.kept, simd)
    rows, place = cfg.windows.rows, _event_place_bits(cfg)
    positions = cfg.kernel_h * address_bits(rows) + cfg.kernel_w * address_bits(cfg.width)
    readers, shared = ceil_div(simd, cfg.shared_by), cfg.shared_by > 1
    queues = ram(family, 16, place + 1 + readers * kernel, "lut")
    if shared:  # 16 words of each bank, with kernel position and window
        queues += simd * ram(family, 16, _event_word_bits(cfg) + address_bits(kernel) + 2, "lut")
    return {
        **_memory(_event_flags(cfg, family) + queues + _event_words(cfg, family) + _event_packets(cfg, family)),
        "flag_bits": readers * kernel if kernel > 1 else 0,
        "chained_flag_bits": readers * kernel if kernel > NARROW else 0,
        "ring_row_bits": readers * rows,
        "row_bits": readers * cfg.kernel_h * (rows - 1),
        "column_bits": readers * cfg.kernel_h * ((cfg.kernel_w - 1) * cfg.time_steps + 1),
        "pad_bits": cfg.height * (cfg.padding_h > 0) + cfg.width * (cfg.padding_w > 0),
        "place_bits": place,
        "position_bits": positions,
        "picked_position_bits": readers * positions if kernel > 1 else 0,
        "banks": simd,
        "shared": shared,
        "shared_banks": simd if shared else 0,
        "event_bits": simd * groups,
        "chained_event_bits": simd * groups if groups > NARROW else 0,
        # activations of several bits: told from zero where they come in, picked where a bank has several, and held
        "told_bits": cfg.kept * (cfg.in_bits - 1),
        "picked_bits": simd * groups * cfg.in_bits if cfg.in_bits > 1 and groups > 1 else 0,
        "act_bits": simd * cfg.in_bits if cfg.in_bits > 1 else 0,
        "index_bits": readers * address_bits(kernel) + simd * address_bits(groups),
        "folded": cfg.folds > 1,
        "packet_bits": simd * (cfg.in_bits + address_bits(kernel * cfg.steps2)),
    }


def _event_words(cfg: Any, family: Family) -> Ram:
    """The ring of the words, a memory a reader."""
    place, width = _event_place_bits(cfg), _event_word_bits(cfg)
    if cfg.shared_by == 1 and cfg.kept <= cfg.simd:
        width -= 1  # which channel holds the event need not be told where there is one: a word that is read holds it
    style: Style = "block" if place > 5 else "auto"
    whole, rest = divmod(min(cfg.simd, cfg.kept), cfg.shared_by)  # a bank of no channel is left out
    rings: Ram = whole * _event_columns(family, place, cfg.shared_by * width, style)
    return rings + _event_columns(family, place, rest * width, style) if rest else rings


def _event_columns(family: Family, place: int, width: int, style: Style) -> Ram:
    """A reader's words: where they are in block RAM, in columns of as many bits as a side of one has."""
    if style != "block":
        return ram(family, 1 << place, width, style)
    whole, rest = divmod(width, SIDE)
    columns: Ram = whole * ram(family, 1 << place, SIDE, style)
    return columns + ram(family, 1 << place, rest, style) if rest else columns


def _event_word_bits(cfg: Any) -> int:
    """Of a bank: its activations, and which of them are events where that is not the same."""
    bits: int = ceil_div(cfg.kept, cfg.simd) * (1 + (cfg.in_bits > 1) * cfg.in_bits)
    return bits


def _event_packets(cfg: Any, family: Family) -> Ram:
    """The beats that are replayed for each fold."""
    kernel = cfg.kernel_h * cfg.kernel_w
    width = cfg.simd * (cfg.in_bits + address_bits(kernel * cfg.steps2))
    if cfg.folds == 1:
        return _two(width + 1)
    return ram(family, 2 << address_bits(kernel * ceil_div(cfg.kept, cfg.simd)), width)


def _synapse_event_counted(cfg: Any, family: Family) -> tuple[float, int]:
    return (_event_flags(cfg, family) + _event_words(cfg, family) + _event_packets(cfg, family)).blocks, 0


def _spike_pack(cfg: Any, family: Family) -> Features:
    return {
        "held_bits": cfg.steps * min(cfg.folds * cfg.pe, cfg.channels),
        "parts": cfg.steps * (cfg.folds - 1) * cfg.pe,
        "fold_bits": address_bits(cfg.folds) if cfg.folds > 1 else 0,
    }


def _spike_pool(cfg: Any, family: Family) -> Features:
    depth = cfg.width // cfg.size * cfg.time_steps
    store = ram(family, depth, cfg.channels)
    return {
        **_memory(store),
        "channels": cfg.channels,
        "block_word_bits": cfg.channels if store.blocks else 0,
        "counter_bits": address_bits(cfg.width) + address_bits(cfg.height) + address_bits(cfg.time_steps),
        "address_bits": address_bits(depth),
    }


def _spike_pool_counted(cfg: Any, family: Family) -> tuple[float, int]:
    return ram(family, cfg.width // cfg.size * cfg.time_steps, cfg.channels).blocks, 0


def _spike_sum(cfg: Any, family: Family) -> Features:
    depth, sums = cfg.width // cfg.size * cfg.time_steps, cfg.channels * cfg.out_bits
    store = ram(family, depth, sums)
    return {
        **_memory(store),
        "sum_bits": sums,
        "in_bits": cfg.channels * cfg.in_bits,
        "channels": cfg.channels,
        "block_word_bits": sums if store.blocks else 0,
        "counter_bits": address_bits(cfg.width) + address_bits(cfg.height) + address_bits(cfg.time_steps),
        "address_bits": address_bits(depth),
    }


def _spike_sum_counted(cfg: Any, family: Family) -> tuple[float, int]:
    return ram(family, cfg.width // cfg.size * cfg.time_steps, cfg.channels * cfg.out_bits).blocks, 0


def _stream_fork(cfg: Any, family: Family) -> Features:
    return {"readers": cfg.outs, "awaited_readers": cfg.outs**2}  # each one's bit waits for all


def _frame_split(cfg: Any, family: Family) -> Features:
    return {}


def _frame_close(cfg: Any, family: Family) -> Features:
    return {"counts": cfg.beats > 1, "counter_bits": address_bits(cfg.beats) if cfg.beats > 1 else 0}


def _stream_join(cfg: Any, family: Family) -> Features:
    passed = max(cfg.a_shift, cfg.b_shift)  # bits of one way, below the lowest of the other
    shorter, longer = sorted((cfg.a_bits + cfg.a_shift, cfg.b_bits + cfg.b_shift))
    # bits with a number of either way, or its sign; the carry alone goes on from there
    added = cfg.out_bits - 1 - passed if cfg.signed else shorter - passed
    return {
        "lanes": cfg.lanes,
        "added_bits": cfg.lanes * max(added, 0),
        "sum_bits": cfg.lanes * (cfg.out_bits - passed),
        "passed_bits": cfg.lanes * passed,
        "single": cfg.lanes if longer == 1 else 0,  # two spikes: a sum and a carry without a chain
    }


def _stream_width(cfg: Any, family: Family) -> Features:
    """Of what narrows."""
    ratio = cfg.in_bits // cfg.out_bits
    return {**_selected(cfg.out_bits, ratio), "held_bits": cfg.in_bits, "counter_bits": address_bits(ratio)}


def _stream_fifo(cfg: Any, family: Family) -> Features:
    store = _queue(cfg, family)
    return {
        **_memory(store),
        "width": cfg.width,
        "counter_bits": address_bits(cfg.depth),
        "deep": cfg.depth > SHALLOW,
        "block_word_bits": cfg.width if store.blocks else 0,
    }


def _queue(cfg: Any, family: Family) -> Ram:
    """A deep queue has a head of four beats in front of the block RAM; one of two is flip-flops."""
    if cfg.depth == 2:
        return _two(cfg.width)
    if cfg.depth <= SHALLOW:
        return ram(family, cfg.depth, cfg.width)
    return ram(family, cfg.depth, cfg.width, "block") + ram(family, 4, cfg.width, "lut")


def _stream_fifo_counted(cfg: Any, family: Family) -> tuple[float, int]:
    return _queue(cfg, family).blocks, 0


def _pixel_index(cfg: Any, family: Family) -> Features:
    return {"counter_bits": address_bits(cfg.pixels) + address_bits(cfg.time_steps)}


def _axis_in(cfg: Any, family: Family) -> Features:
    beat, pixel = cfg.pixel_bits * cfg.axi_bytes, cfg.pixel_bits * cfg.pixel_bytes
    unit = gcd(beat, pixel)
    split, joined = beat > unit, pixel > unit
    return {
        # a beat of which units are picked, a pixel that they are gathered in: of either nothing where it is a unit
        "held_bits": beat if split else 0,
        **_selected(unit, beat // unit),
        "gathered_bits": pixel if joined else 0,
        "splits": split,
        "gathers": joined,
        "part_bits": (address_bits(beat // unit) if split else 0) + (address_bits(pixel // unit) if joined else 0),
        "beat_bits": address_bits(cfg.frame_beats),
        "dropped_bits": address_bits(cfg.frame_cycles) if cfg.frame_pixels * pixel % beat else 0,
    }


def _counts(cfg: Any, family: Family) -> Ram:
    """A memory of axis_events, of a power of two of words a row."""
    return ram(family, max(2, cfg.height) << address_bits(cfg.width), cfg.channels * cfg.bits)


def _axis_events(cfg: Any, family: Family) -> Features:
    return {
        **_memory(2 * _counts(cfg, family)),
        "time_bits": cfg.time_bits,
        "offset_bits": 14 * ((cfg.x0 > 0) + (cfg.y0 > 0)),
        "word_bits": cfg.channels * cfg.bits,
        "place_bits": address_bits(cfg.width) + address_bits(cfg.height),
        "first": cfg.from_first,
    }


def _axis_events_counted(cfg: Any, family: Family) -> tuple[float, int]:
    return 2 * _counts(cfg, family).blocks, 0


def _axis_out(cfg: Any, family: Family) -> Features:
    ways = 1 << address_bits(cfg.classes + 1)
    return {"logit_bits": cfg.classes * cfg.logit_bits, "selected_bits": cfg.logit_bits * (ways - 1)}


_Counts = Callable[[Any, Family], Features]
_Rule = Callable[[Any, Family], tuple[float, int]]
_MODULES: dict[str, tuple[_Counts, _Rule | None]] = {
    "window_buffer": (_window_buffer, _window_buffer_counted),
    "window_row": (_window_row, None),
    "synapse_list": (_synapse_list, None),
    "synapse_word": (_synapse_word, None),
    "synapse_event": (_synapse_event, _synapse_event_counted),
    "lif_pe": (_lif_pe, _lif_pe_counted),
    "direct_pe": (_direct_pe, _array_counted),
    "spike_pack": (_spike_pack, None),
    "spike_pool": (_spike_pool, _spike_pool_counted),
    "spike_sum": (_spike_sum, _spike_sum_counted),
    "current_pe": (_current_pe, _array_counted),
    "lif_neuron": (_lif_neuron, _lif_neuron_counted),
    "stream_fork": (_stream_fork, None),
    "stream_join": (_stream_join, None),
    "frame_split": (_frame_split, None),
    "frame_close": (_frame_close, None),
    "stream_width": (_stream_width, None),
    "stream_fifo": (_stream_fifo, _stream_fifo_counted),
    "pixel_index": (_pixel_index, None),
    "readout": (_readout, _readout_counted),
    "axis_in": (_axis_in, None),
    "axis_out": (_axis_out, None),
    "axis_events": (_axis_events, _axis_events_counted),
}
