"""Golden twin of hw/rtl/event_replay.sv: each packet of synapse beats once a fold, at that fold's addresses."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.beats import address_bits, pack, unpack


@dataclass(frozen=True)
class EventReplay:
    simd: int
    in_bits: int
    kernel: int  # kernel positions
    steps: int  # addresses a kernel position, a power of two
    folds: int
    length: int  # most beats of a packet


def event_replay(cfg: EventReplay, beats: list[int]) -> list[int]:
    """beats: (SIMD act, SIMD addr {k, j}, last). Returns the same with addr {k, fold, j}, the fold in whole bits."""
    places = 1 << (cfg.folds - 1).bit_length()  # of the fold
    act_bits, in_bits = cfg.simd * cfg.in_bits, address_bits(cfg.kernel * cfg.steps)
    out_bits = address_bits(cfg.kernel * places * cfg.steps)
    out, packet = [], []
    for beat in beats:
        packet.append((unpack(beat, cfg.in_bits, cfg.simd), unpack(beat >> act_bits, in_bits, cfg.simd)))
        if beat >> (act_bits + cfg.simd * in_bits):
            for fold in range(cfg.folds):
                for i, (acts, addrs) in enumerate(packet):
                    moved = [(addr // cfg.steps * places + fold) * cfg.steps + addr % cfg.steps for addr in addrs]
                    last = int(i == len(packet) - 1)
                    fields = pack(acts, cfg.in_bits) | pack(moved, out_bits) << act_bits
                    out.append(fields | last << (act_bits + cfg.simd * out_bits))
            packet = []
    return out
