"""What the hardware can be built with, in numbers: a description that asks for more is refused before it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaflow.model.shortcuts import Shortcuts, shortcuts

if TYPE_CHECKING:
    from scaflow.model.config import EventFoldConfig, FoldConfig, NetworkConfig

MOST_SIMD = 64  # of a spiking layer: the pipeline of lif_pe is then as long as its credits
MOST_READOUT_SIMD = 100  # of the read-out: the adder tree of mac_array
MOST_KERNEL = 64  # kernel positions that synapse_event can search in a cycle
MOST_GROUPS = 256  # channels of a bank that event_bank can search in a cycle
MOST_PATTERN = 12  # bits of a pattern that picks a word: a group has as many words as there are patterns
MOST_PART = 9  # of a part of it, where its numbers have more than one bit
MOST_NUMBERS = 56  # of a pattern in parts
LOGIT_BITS = 32  # of a word of axis_out
AXI_BYTES = 4  # of a beat of axis_in, where nothing else is said
MOST_AXI_BYTES = 16


@dataclass(frozen=True)
class LayerShape:
    """What a folding is judged by, of a spiking layer."""

    inputs: int
    outputs: int
    kernel: tuple[int, int]
    padding: int
    pixels: int  # of its map, behind the pool


def axi_problem(axi_bytes: int) -> str | None:
    """Of an input beat of so many bytes."""
    if 1 <= axi_bytes <= MOST_AXI_BYTES:
        return None
    return (
        f"an input beat has 1 to {MOST_AXI_BYTES} bytes; give a width among these, or leave it out for {AXI_BYTES}"
    )


def pe_problem(pe: int, outputs: int) -> str | None:
    """Of PE neurons side by side for a spiking layer of so many channels."""
    return None if 1 <= pe <= outputs else f"pe={pe} must be 1 to its {outputs} output channels"


def neurons_problem(neurons: int, pe: int) -> str | None:
    """Of so many membranes that are updated a cycle, where PE sums are formed side by side."""
    return None if 1 <= neurons <= pe else f"neurons={neurons} must be 1 to its pe={pe}"


def simd_problem(simd: int, inputs: int, most: int = MOST_SIMD) -> str | None:
    """Of SIMD synapses a cycle for a layer of so many input channels; `most`: what its adders can take."""
    if 1 <= simd <= min(inputs, most):
        return None
    return f"simd={simd} must be 1 to {inputs}, its input channels" if inputs <= most else (
        f"simd={simd} must be 1 to {most}, the most that are added in a cycle"
    )


def group_problem(group: tuple[int, int], width: int, bits: int, simd: int = 1) -> str | None:
    """Of a group of kernel positions and channels that share a look-up, where a kernel is so wide, an activation has
    so many bits, and so many banks look up in a cycle."""
    positions, channels = group
    if positions not in (1, width) or channels < 1:
        return (
            f"group=[{positions}, {channels}] must be 1 or {width} positions, which is a row of the kernel, of"
            " 1 channel or more"
        )
    size, parts = positions * channels * bits, pattern_parts(positions * channels, bits)
    if parts == 0 or size > MOST_NUMBERS:
        return (
            f"group=[{positions}, {channels}] of activations of {bits} bits has patterns of {size} bits, and at most"
            f" {MOST_PATTERN if bits == 1 else MOST_NUMBERS} pick words; use fewer positions, channels or pixel bits"
        )
    if parts > 1 and simd * parts > MOST_SIMD:
        return (
            f"group=[{positions}, {channels}] of activations of {bits} bits picks {parts} words in each of simd={simd}"
            f" banks, and at most {MOST_SIMD} are added in a cycle; use a simd of {MOST_SIMD // parts} or less"
        )
    return None


def pattern_parts(numbers: int, bits: int) -> int:
    """Into how few parts a pattern of numbers of so many bits is cut, each of which picks a word; 0: it cannot be."""
    for parts in range(1, bits + 1):
        if numbers * -(-bits // parts) <= MOST_PART:
            return parts
    return int(numbers * bits <= MOST_PATTERN)


def event_problems(
    kernel: tuple[int, int], padding: int, inputs: int, simd: int, group: tuple[int, int] = (1, 1)
) -> list[str]:
    """Why an event scheduler cannot be had: nothing, or what stands against it."""
    height, width = kernel[0], kernel[1] // group[0]
    inputs = -(-inputs // group[1])
    problems = []
    if height * width > MOST_KERNEL:
        problems.append(f"a kernel of {height}x{kernel[1]} has more than {MOST_KERNEL} positions")
    if 2 * padding > height:
        problems.append(f"padding={padding} is more than half of the kernel {height}x{kernel[1]}")
    if -(-inputs // simd) > MOST_GROUPS:
        problems.append(
            f"simd={simd} banks of {inputs} input channels hold more than {MOST_GROUPS} channels each;"
            f" use a simd of at least {-(-inputs // MOST_GROUPS)}"
        )
    return problems


def hardware_problems(cfg: NetworkConfig) -> list[str]:
    """What the hardware could not be built with, of a whole description; a line each."""
    shapes = list(_shapes(cfg))
    fold, led = cfg.fold, shortcuts(cfg)
    found = _list_problems("fold", fold, shapes, "then they are balanced for fold.lanes")
    found += _list_problems("fold.event", fold.event, shapes, "then each stage keeps its lanes")
    for where, section in (("fold", fold), ("fold.event", fold.event)):
        found += _trunk_problems(where, section, led, len(shapes))
    least = len(shapes) + len(led.strides) + cfg.classes
    if fold.pe is None and fold.simd is None and fold.lanes < least:
        beside = f", {len(led.strides)} shortcuts" if led.strides else ""
        found.append(
            f"fold.lanes={fold.lanes}: at least {least}, a lane for each of {len(shapes)} layers{beside} and"
            f" {cfg.classes} classes; raise fold.lanes"
        )
    schedulers = fold.event.scheduler
    if isinstance(schedulers, str):
        schedulers = (schedulers,) * len(shapes)
    elif len(schedulers) != len(shapes):
        found.append(
            f"fold.event.scheduler: {len(schedulers)} values for {len(shapes)} spiking layers; give one, or one a layer"
        )
    found += _group_problems(fold.event, shapes, cfg.pixel_bits)
    groups = fold.event.groups or [(1, 1)] * len(shapes)
    simds = fold.event.simd or [min(shape.inputs, MOST_SIMD) for shape in shapes]
    for i, (shape, scheduler, simd, group) in enumerate(zip(shapes, schedulers, simds, groups, strict=False)):
        if scheduler == "event" and simd > 0:
            found += [
                f"fold.event.scheduler: layers[{i}]: {problem}; use auto or list"
                for problem in event_problems(shape.kernel, shape.padding, shape.inputs, simd, group)
            ]
    if shapes and fold.event.readout == "event" and fold.event.simd and fold.event.simd[-1] > 0:
        own = groups[len(shapes)] if len(groups) > len(shapes) else (1, 1)
        found += [
            f"fold.event.readout: {problem}; use auto or list"
            for problem in event_problems((1, 1), 0, shapes[-1].outputs, fold.event.simd[-1], own)
        ]
    return found + (_logit_problems(cfg, shapes[-1]) if shapes else [])


def _group_problems(event: EventFoldConfig, shapes: list[LayerShape], pixel_bits: int) -> list[str]:
    """Of what shares a look-up, layer by layer."""
    if event.groups is None:
        return []
    where = "fold.event.groups"
    if event.pe is None:
        return [f"{where}: of how many pe and simd? give these too, or leave it out"]
    layers = len(shapes)
    if len(event.groups) not in (layers, layers + 1):
        return [
            f"{where}: {len(event.groups)} values for {layers} spiking layers; give one per layer, and then one for the"
            " read-out or none"
        ]
    if len(event.groups) > layers and event.readout == "list" and event.groups[-1] != (1, 1):
        return [f"{where}[{layers}]: the read-out walks its list; say readout = \"event\", or leave it out"]
    read = [*((shape.kernel[1], 1 if i else pixel_bits, shape.inputs) for i, shape in enumerate(shapes)), (1, 1, 1)]
    told = [
        None if group == (1, 1) else group_problem(group, width, bits, min(simd, -(-inputs // max(1, group[1]))))
        for group, (width, bits, inputs), simd in zip(
            event.groups, read, event.simd or [1] * len(read), strict=False
        )
    ]
    names = [*(f"layers[{i}]" for i in range(layers)), "the read-out"]
    return [f"{where}[{i}]: {names[i]}: {problem}" for i, problem in enumerate(told) if problem]


def _shapes(cfg: NetworkConfig) -> Iterator[LayerShape]:
    inputs, *sizes = cfg.input_shape
    for layer in cfg.layers:
        if layer.kind == "linear":
            kernel, padding, sizes = tuple(sizes), 0, [1, 1]
        else:
            kernel, padding = (layer.kernel, layer.kernel), layer.padding
            sizes = [((size + 2 * padding - layer.kernel) // layer.stride + 1) // layer.pool for size in sizes]
        yield LayerShape(inputs, layer.channels, (kernel[0], kernel[1]), padding, sizes[0] * sizes[1])
        inputs = layer.channels


def _logit_problems(cfg: NetworkConfig, last: LayerShape) -> list[str]:
    """Of the read-out, whose weights can all be of one sign."""
    most = cfg.steps * last.outputs * last.pixels << (cfg.quant.last_bits - 1)
    if (bits := (most - 1).bit_length() + 1) <= LOGIT_BITS:
        return []
    return [
        f"readout: {cfg.steps} steps of {last.outputs} channels of {last.pixels} pixels with weights of"
        f" {cfg.quant.last_bits} bits: logits of {bits} bits, and {LOGIT_BITS} go out; use a pool, fewer steps,"
        " channels or quant.last_bits"
    ]


def _trunk_problems(where: str, fold: FoldConfig | EventFoldConfig, led: Shortcuts, layers: int) -> list[str]:
    """Of layers whose currents are joined: one PE, and all of its neurons."""
    if fold.pe is None or len(fold.pe) != layers:
        return []
    pe, trunks = fold.pe, led.trunks(layers)
    problems = [
        f"{where}.pe: {[pe[i] for i in group]} of layers {list(group)}: shortcuts add their currents; give all the same"
        for group in led.groups(layers)
        if trunks.issuperset(group) and len({pe[i] for i in group}) > 1
    ]
    served = fold.neurons if fold.neurons is not None and len(fold.neurons) == layers else pe
    return problems + [
        f"{where}.neurons[{i}]: layers[{i}]: neurons={served[i]}: a shortcut adds its current, and currents go on PE a"
        f" cycle; give its pe={pe[i]}"
        for i in sorted(trunks)
        if served[i] != pe[i]
    ]


def _list_problems(
    where: str, fold: FoldConfig | EventFoldConfig, shapes: list[LayerShape], otherwise: str
) -> list[str]:
    """Of pe, simd and neurons, layer by layer."""
    problems = []
    layers = len(shapes)
    if fold.pe is not None and len(fold.pe) != layers:
        problems.append(f"{where}.pe: {len(fold.pe)} values for {layers} spiking layers; give one per layer")
    elif fold.pe is not None:
        told = [pe_problem(pe, shape.outputs) for pe, shape in zip(fold.pe, shapes, strict=True)]
        problems += [f"{where}.pe[{i}]: layers[{i}]: {problem}" for i, problem in enumerate(told) if problem]
    if fold.simd is not None and len(fold.simd) != layers + 1:
        problems.append(
            f"{where}.simd: {len(fold.simd)} values; give {layers + 1}: per spiking layer, then the read-out"
        )
    elif fold.simd is not None and shapes:
        told = [simd_problem(simd, shape.inputs) for simd, shape in zip(fold.simd, shapes, strict=False)]
        problems += [f"{where}.simd[{i}]: layers[{i}]: {problem}" for i, problem in enumerate(told) if problem]
        if problem := simd_problem(fold.simd[-1], shapes[-1].outputs, MOST_READOUT_SIMD):
            problems.append(f"{where}.simd[{layers}]: the read-out: {problem}")
    if (fold.pe is None) != (fold.simd is None):
        problems.append(f"{where}: give both pe and simd, or neither ({otherwise})")
    if fold.neurons is not None and fold.pe is None:
        problems.append(f"{where}.neurons: of the sums of how many pe? give pe and simd too, or leave it out")
    elif fold.neurons is not None and len(fold.neurons) != layers:
        problems.append(f"{where}.neurons: {len(fold.neurons)} values for {layers} spiking layers; give one per layer")
    elif fold.neurons is not None and fold.pe is not None:
        told = [neurons_problem(*pair) for pair in zip(fold.neurons, fold.pe, strict=False)]
        problems += [f"{where}.neurons[{i}]: layers[{i}]: {problem}" for i, problem in enumerate(told) if problem]
    return problems
