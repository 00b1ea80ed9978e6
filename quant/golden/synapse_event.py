"""Golden twin of hw/rtl/synapse_event.sv: the walk over the synapses of each window whose input spiked."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.beats import address_bits, batches, ceil_div, unpack
from scaflow.quant.golden.event_window import EventWindow


@dataclass(frozen=True)
class SynapseEvent:
    channels: int
    kept: int  # channels 0..kept-1 are walked
    simd: int
    in_bits: int
    height: int
    width: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    padding_h: int
    padding_w: int
    time_steps: int  # beats a pixel
    folds: int

    @property
    def steps2(self) -> int:
        """Channels of a bank, rounded up to a power of two: the place of a channel is a field of the address."""
        return 1 << (ceil_div(self.kept, self.simd) - 1).bit_length()

    @property
    def folds2(self) -> int:
        """The same of the folds."""
        return 1 << (self.folds - 1).bit_length()

    @property
    def windows(self) -> EventWindow:
        """What finds the windows and the words in them: a flag a reader."""
        return EventWindow(
            ceil_div(self.simd, self.shared_by), self.height, self.width, self.kernel_h, self.kernel_w, self.stride_h,
            self.stride_w, self.padding_h, self.padding_w, self.time_steps,
        )  # fmt: skip

    @property
    def addr_bits(self) -> int:
        return address_bits(self.kernel_h * self.kernel_w * self.folds2 * self.steps2)

    @property
    def shared_by(self) -> int:
        """Banks of a reader, which serves several where they have the time; 1: it waits for its one bank."""
        has_time = self.folds > 3 and self.kernel_h * self.kernel_w <= 9
        return min(self.folds, self.simd) if has_time else 1


def synapse_event(cfg: SynapseEvent, beats: list[int]) -> list[int]:
    """beats: words in order pixel, t. Returns (SIMD act, SIMD addr, last) in order output pixel, t, fold.

    The address has the fields (k, fold, j). A bank without a further event gives act 0, k 0 and j 0.
    """
    act_bits = cfg.simd * cfg.in_bits
    out = []
    for image in batches(beats, cfg.height * cfg.width * cfg.time_steps):
        words = [unpack(word, cfg.in_bits, cfg.kept) for word in image]
        for y0 in range(-cfg.padding_h, cfg.height + cfg.padding_h - cfg.kernel_h + 1, cfg.stride_h):
            for x0 in range(-cfg.padding_w, cfg.width + cfg.padding_w - cfg.kernel_w + 1, cfg.stride_w):
                for t in range(cfg.time_steps):
                    banks: list[list[tuple[int, int]]] = [[] for _ in range(cfg.simd)]  # (act, (k, 0, j))
                    for ky in range(max(0, -y0), min(cfg.kernel_h, cfg.height - y0)):
                        for kx in range(max(0, -x0), min(cfg.kernel_w, cfg.width - x0)):
                            word = words[((y0 + ky) * cfg.width + x0 + kx) * cfg.time_steps + t]
                            for c, act in enumerate(word):
                                if act:
                                    k = ky * cfg.kernel_w + kx
                                    banks[c % cfg.simd].append((act, k * cfg.folds2 * cfg.steps2 + c // cfg.simd))
                    steps = max(1, max(map(len, banks)))
                    for fold in range(cfg.folds):
                        for i in range(steps):
                            beat = int(i == steps - 1) << (act_bits + cfg.simd * cfg.addr_bits)
                            for b, bank in enumerate(banks):
                                act, addr = bank[i] if i < len(bank) else (0, 0)
                                beat |= act << (b * cfg.in_bits)
                                beat |= (fold * cfg.steps2 + addr) << (act_bits + b * cfg.addr_bits)
                            out.append(beat)
    return out
