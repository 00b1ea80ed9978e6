"""Golden twin of hw/rtl/synapse_word.sv: the walk over the read-out's synapses whose input spiked, word by word."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.beats import address_bits, ceil_div, unpack


@dataclass(frozen=True)
class SynapseWord:
    channels: int
    kept: int  # channels 0..kept-1 are walked
    together: int  # of these are a group
    simd: int
    pixels: int

    @property
    def steps2(self) -> int:
        """Groups of a bank, rounded up to a power of two: the place of a group is a field of the address."""
        return 1 << (ceil_div(self.kept, self.together * self.simd) - 1).bit_length()

    @property
    def addr_bits(self) -> int:
        return address_bits(self.pixels * self.steps2)


def synapse_word(cfg: SynapseWord, beats: list[int]) -> list[int]:
    """beats: (word, pixel, last). Returns (SIMD act, SIMD addr, last): the steps of each word, none of a silent one.

    The address has the fields (pixel, j). A bank without a further event gives act 0 and j 0, and so do all at the end
    of an image whose last word is silent.
    """
    k_bits = address_bits(cfg.pixels)
    out = []
    for beat in beats:
        pixel, last = beat >> cfg.channels & ((1 << k_bits) - 1), beat >> (cfg.channels + k_bits)
        groups = unpack(beat & ((1 << cfg.kept) - 1), cfg.together, ceil_div(cfg.kept, cfg.together))
        banks = [[(act, j) for j, act in enumerate(groups[b :: cfg.simd]) if act] for b in range(cfg.simd)]
        steps = max(last, max(map(len, banks)))
        for i in range(steps):
            step = int(last and i == steps - 1) << (cfg.simd * (cfg.together + cfg.addr_bits))
            for b, bank in enumerate(banks):
                act, j = bank[i] if i < len(bank) else (0, 0)
                step |= act << (b * cfg.together)
                step |= (pixel * cfg.steps2 + j) << (cfg.simd * cfg.together + b * cfg.addr_bits)
            out.append(step)
    return out
