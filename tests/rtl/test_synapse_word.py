"""synapse_word: exactly the synapses whose input spiked, in exactly the cycles of the law."""

from scaflow.quant.golden.beats import address_bits, ceil_div, unpack
from scaflow.quant.golden.synapse_word import SynapseWord
from scaflow.sim.suite import RtlSuite


class TestSynapseWord(RtlSuite):
    stem = "synapse_word"
    directed = (
        SynapseWord(8, 8, 1, 1, 5),
        SynapseWord(9, 7, 1, 4, 6),  # pruned channels, banks that do not fill
        SynapseWord(16, 16, 1, 2, 1),  # a word is an image
        SynapseWord(14, 9, 2, 3, 9),  # groups, the last one with a pruned channel
        SynapseWord(2, 2, 1, 3, 3),  # a bank without a channel
        SynapseWord(40, 40, 1, 2, 7),  # wide banks
        SynapseWord(3, 3, 4, 1, 3),  # one group
    )
    mutants = (
        ("in_valid && (|in_some || in_last)", "in_valid"),  # walks silent words
        ("in_valid && (|in_some || in_last)", "in_valid && |in_some"),  # an image that ends silently never does
        ("take && ahead_some[b]", "take"),  # a silent bank shows a spike
        ("take && ahead_some[b]", "ahead_some[b]", 1),  # a bank that is done shows one of the next word
        ("!ahead_valid || &free", "!ahead_valid"),  # a word comes in a cycle too late
        ("ahead_valid && &free", "ahead_valid && |free", 1),  # takes a word while a bank is at work
        ("if (take) {last", "if (in_ready) {last"),  # the pixel of the next word
        ("last && &single", "last"),  # an image ends at each spike of its last word
        ("last && &single", "last && |single", 1),  # or with the bank of the fewest
        ("ADDR_BITS'({pixel, j})", "ADDR_BITS'(j)"),  # always the first pixel
        (".in_valid(|here)", ".in_valid(&here)", 1),  # only as long as all banks have spikes
    )

    def draw(self, rng):
        channels = rng.randint(1, 50)
        kept = rng.randint(1, channels)
        return SynapseWord(channels, kept, rng.choice([1, 1, 2, 4]), rng.randint(1, min(kept, 12)), rng.randint(1, 9))

    def beats(self, cfg, rng):
        """Images of several time steps: silent, full, of one spike a word, and of stretches of all kinds."""
        beats = []
        for kind in ("silent", "mixed", "full", "silent", "hot", "mixed", "mixed", "mixed", "mixed"):
            words = []
            while len(words) < 3 * cfg.pixels:
                chance = {"silent": 0, "full": 1}.get(kind, rng.choice([0, 0, 0.05, 0.3, 1]))
                for _ in range(rng.randint(1, 5)):
                    word = sum((rng.random() < chance) << c for c in range(cfg.channels))
                    words.append(1 << rng.randrange(cfg.channels) if kind == "hot" else word)
            for i, word in enumerate(words[: 3 * cfg.pixels]):
                beats.append(word | i // 3 << cfg.channels)
            beats[-1] |= 1 << (cfg.channels + address_bits(cfg.pixels))
        return beats

    def cycles(self, cfg, beats):
        """The law, from the word being walked to the next; the last one walks, and passes a register and the queue."""
        taken, steps, arrived = 0, 0, 0  # of the word that was not dropped last; cycles from the first beat
        for beat in beats:
            groups = unpack(beat & ((1 << cfg.kept) - 1), cfg.together, ceil_div(cfg.kept, cfg.together))
            fullest = max(sum(map(bool, groups[b :: cfg.simd])) for b in range(cfg.simd))
            last = beat >> (cfg.channels + address_bits(cfg.pixels))
            arrived = max(arrived + 1, taken)  # the cycle in which it is looked at
            if fullest or last:
                taken, steps = max(arrived + 1, taken + steps), max(1, fullest)
        return taken + steps + 1
