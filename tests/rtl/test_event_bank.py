"""event_bank: each event of each word, one a cycle, and what goes with the word."""

from scaflow.quant.golden.event_bank import EventBank, event_bank
from scaflow.sim.suite import RtlSuite


class TestEventBank(RtlSuite):
    stem = "event_bank"
    directed = (
        EventBank(4, 1, 5),
        EventBank(1, 1, 4),  # a word of one event
        EventBank(3, 8, 4),  # pixels
        EventBank(20, 1, 1),  # searched by a carry chain
        EventBank(70, 1, 2),  # a wide bank
    )
    mutants = (
        ("number(COUNTED'(fresh ? in_events : rest)) < 2", "1'b1"),  # ends each word at its second event
        ("number(COUNTED'(fresh ? in_events : rest)) < 2", "number(COUNTED'(fresh ? in_events : rest)) < 1"),
        ("number(COUNTED'(fresh ? in_events : rest))", "number(COUNTED'(fresh ? in_events : events))"),
        ("number(COUNTED'(events)) < 3", "1'b1", 3),  # the same of a wide word
        ("number(COUNTED'(events)) < 3", "number(COUNTED'(events)) < 2", 3),
        ("number(COUNTED'(in_events)) < 2", "number(COUNTED'(in_events)) < 3", 3),  # of two events one is lost
        ("three | both_l | both_r |", "three | both_l |"),  # overlooks the pair 2, 3
        ("| (other_high & other_low);", ";", 3),  # three events of a right branch are two
        ("assign rest[i] = events[i] &&", "assign rest[i] = 1'b0 &&"),  # loses the events behind the first
        ("!out_valid || (step && single)", "!out_valid || step"),  # the next word comes over this one's events
        ("one || (fresh && !in_data[WORD_BITS])", "one"),  # walks a word that is not there
        ("if (first[i] && there) j |=", "if (first[i]) j |="),  # a word that is not there shows where it has bits
        ("if (first[i] && there) act |=", "if (first[i]) act |=", 2),
        ("wire step = out_valid && out_ready", "wire step = out_valid"),  # ready dropped
    )

    def draw(self, rng):
        return EventBank(rng.choice([1, 2, 3, 5, 12, 13, 40]), rng.choice([1, 1, 8]), rng.randint(1, 6))

    def beats(self, cfg, rng):
        """Words of few and of many events; behind words that are not there stands anything."""
        beats = []
        for _ in range(200):
            there, chance = rng.random() < 0.8, rng.choice([0.1, 0.5, 1])
            events = [int(rng.random() < chance) for _ in range(cfg.groups)]
            if there and not any(events):
                events[rng.randrange(cfg.groups)] = 1
            word = sum(event << i for i, event in enumerate(events))
            if cfg.in_bits > 1:
                for i, event in enumerate(events):
                    act = rng.randint(1, (1 << cfg.in_bits) - 1) * event
                    word |= act << (cfg.groups + i * cfg.in_bits)
            beats.append(word | there << cfg.word_bits | rng.getrandbits(cfg.tag_bits) << (cfg.word_bits + 1))
        return beats

    def cycles(self, cfg, beats):
        """A cycle an event, behind the one in which the first word comes in."""
        return len(event_bank(cfg, beats)) + 1
