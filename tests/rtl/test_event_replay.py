"""event_replay: every packet once a fold, without a bubble."""

from scaflow.quant.golden.beats import address_bits, pack
from scaflow.quant.golden.event_replay import EventReplay
from scaflow.sim.suite import RtlSuite


class TestEventReplay(RtlSuite):
    stem = "event_replay"
    directed = (
        EventReplay(2, 1, 9, 8, 3, 72),
        EventReplay(3, 1, 9, 4, 1, 36),  # nothing to repeat
        EventReplay(1, 8, 9, 1, 4, 9),  # pixels, one channel a bank
        EventReplay(2, 1, 1, 1, 2, 1),  # packets of one beat only
    )
    mutants = (
        ("(addr_t'(out_fold) << J_BITS)", "'0"),  # folds share weights
        ("in_ready = !whole[in_half]", "in_ready = 1'b1"),  # writes over a packet still needed
        ("written[rd_half] || !stop", "1'b1"),  # reads ahead of the writer
        ("written[rd_half] && stop", "written[rd_half]"),  # ends a packet at its first beat
        ("wire enable_out = !out_valid || out_ready", "wire enable_out = 1'b1"),  # ready dropped
    )

    def draw(self, rng):
        kernel, steps = rng.randint(1, 10), rng.choice([1, 2, 4, 8])
        length = rng.randint(1, kernel * steps)
        return EventReplay(rng.randint(1, 5), rng.choice([1, 1, 8]), kernel, steps, rng.randint(1, 5), length)

    def beats(self, cfg, rng):
        """Packets, many of one beat, some of the greatest length."""
        beats = []
        block = cfg.kernel * cfg.steps
        for _ in range(80):
            length = rng.choice([1, 1, 1, rng.randint(1, cfg.length), cfg.length])
            for i in range(length):
                acts = [rng.choice([0, 1, rng.getrandbits(cfg.in_bits)]) for _ in range(cfg.simd)]
                addrs = [rng.randrange(block) for _ in range(cfg.simd)]
                fields = pack(acts, cfg.in_bits) | pack(addrs, address_bits(block)) << (cfg.simd * cfg.in_bits)
                last = i == length - 1
                beats.append(fields | last << (cfg.simd * (cfg.in_bits + address_bits(block))))
        return beats
