"""Golden twin of hw/rtl/event_bank.sv: the events of each word of a bank, lowest channel first."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.beats import address_bits, unpack


@dataclass(frozen=True)
class EventBank:
    groups: int  # channels of the bank
    in_bits: int
    tag_bits: int  # what goes through with a word

    @property
    def word_bits(self) -> int:
        """An event bit a channel, and where an event is more than a bit, the activations."""
        return self.groups * (1 + (self.in_bits > 1) * self.in_bits)


def event_bank(cfg: EventBank, beats: list[int]) -> list[int]:
    """beats: (word, there, tag). Returns (act, j, there, tag, last of the word), one step a word that is not there."""
    j_bits = address_bits(cfg.groups)
    out = []
    for beat in beats:
        word, there, tag = beat, beat >> cfg.word_bits & 1, beat >> (cfg.word_bits + 1)
        events = unpack(word, 1, cfg.groups)
        acts = unpack(word >> cfg.groups, cfg.in_bits, cfg.groups) if cfg.in_bits > 1 else events
        steps = [(acts[j], j) for j in range(cfg.groups) if events[j]] if there else [(0, 0)]
        for i, (act, j) in enumerate(steps):
            fields = act | j << cfg.in_bits | there << (cfg.in_bits + j_bits)
            fields |= tag << (cfg.in_bits + j_bits + 1)
            out.append(fields | int(i == len(steps) - 1) << (cfg.in_bits + j_bits + 1 + cfg.tag_bits))
    return out
