"""synapse_event: exactly the synapses whose input is not zero, in exactly the cycles of the law."""

from scaflow.quant.golden.synapse_event import SynapseEvent
from scaflow.sim.suite import RtlSuite

IMAGES = 3


class TestSynapseEvent(RtlSuite):
    stem = "synapse_event"
    directed = (
        SynapseEvent(16, 16, 2, 1, 5, 6, 3, 3, 1, 1, 4, 2),  # the usual 3x3
        SynapseEvent(9, 7, 4, 1, 5, 5, 3, 3, 1, 1, 4, 1),  # pruned channels, banks that do not fill
        SynapseEvent(3, 3, 1, 8, 6, 5, 3, 3, 1, 1, 1, 3),  # pixels
        SynapseEvent(1, 1, 1, 8, 6, 6, 3, 3, 1, 1, 1, 1),  # T=1, one fold
        SynapseEvent(8, 8, 1, 1, 7, 6, 3, 3, 2, 1, 2, 3),  # stride
        SynapseEvent(6, 6, 2, 1, 4, 4, 4, 4, 1, 0, 3, 2),  # the whole map: a linear layer
    )
    mutants = ()

    def draw(self, rng):
        kernel = rng.choice([1, 2, 3, 3, 5])
        channels, bits = rng.choice([(rng.randint(1, 20), 1), (rng.randint(1, 20), 1), (rng.randint(1, 3), 8)])
        kept = rng.randint(1, channels)
        return SynapseEvent(
            channels, kept, rng.randint(1, kept), bits, rng.randint(kernel, 8), rng.randint(kernel, 8),
            kernel, kernel, rng.choice([1, 1, 2]), rng.randint(0, kernel // 2), rng.randint(1, 5), rng.randint(1, 4),
        )  # fmt: skip

    def beats(self, cfg, rng):
        """Images with silent, thin, dense and full stretches, and some with one channel only."""
        beats = []
        while len(beats) < cfg.height * cfg.width * cfg.time_steps * IMAGES:
            chance = rng.choice([0, 0, 0.02, 0.2, 1])
            channels = rng.choice([range(cfg.channels), [rng.randrange(cfg.channels)]])
            for _ in range(rng.randint(1, 3 * cfg.width * cfg.time_steps)):
                word = 0
                for c in channels:
                    if rng.random() < chance:
                        word |= rng.randint(1, 2**cfg.in_bits - 1) << (c * cfg.in_bits)
                beats.append(word)
        return beats[: cfg.height * cfg.width * cfg.time_steps * IMAGES]
