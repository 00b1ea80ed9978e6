"""What the hardware can be built with, in numbers: a description that asks for more is refused before it is trained."""

from __future__ import annotations

MOST_SIMD = 64  # of a spiking layer: the pipeline of lif_pe is then as long as its credits
MOST_READOUT_SIMD = 100  # of the read-out: the adder tree of mac_array
MOST_KERNEL = 64  # kernel positions that synapse_event can search in a cycle
MOST_GROUPS = 256  # channels of a bank that event_bank can search in a cycle
LOGIT_BITS = 32  # of a word of axis_out


def pe_problem(pe: int, outputs: int) -> str | None:
    """Of PE neurons side by side for a spiking layer of so many channels."""
    return None if 1 <= pe <= outputs else f"pe={pe} must be 1 to its {outputs} output channels"


def simd_problem(simd: int, inputs: int, most: int = MOST_SIMD) -> str | None:
    """Of SIMD synapses a cycle for a layer of so many input channels; `most`: what its adders can take."""
    if 1 <= simd <= min(inputs, most):
        return None
    return f"simd={simd} must be 1 to {inputs}, its input channels" if inputs <= most else (
        f"simd={simd} must be 1 to {most}, the most that are added in a cycle"
    )


def event_problems(kernel: tuple[int, int], padding: int, inputs: int, simd: int) -> list[str]:
    """Why an event scheduler cannot be had: nothing, or what stands against it."""
    height, width = kernel
    problems = []
    if height * width > MOST_KERNEL:
        problems.append(f"a kernel of {height}x{width} has more than {MOST_KERNEL} positions")
    if 2 * padding > height:
        problems.append(f"padding={padding} is more than half of the kernel {height}x{width}")
    if -(-inputs // simd) > MOST_GROUPS:
        problems.append(
            f"simd={simd} banks of {inputs} input channels hold more than {MOST_GROUPS} channels each;"
            f" use a simd of at least {-(-inputs // MOST_GROUPS)}"
        )
    return problems
