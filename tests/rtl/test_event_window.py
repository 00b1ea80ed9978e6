"""event_window: the flags of every window, in order, none from the padding; silent stretches at full speed."""

from scaflow.quant.golden.event_window import EventWindow
from scaflow.sim.suite import RtlSuite

IMAGES = 3


class TestEventWindow(RtlSuite):
    stem = "event_window"
    directed = (
        EventWindow(2, 5, 6, 3, 3, 1, 1, 4),  # the usual 3x3
        EventWindow(1, 4, 4, 4, 4, 1, 0, 3),  # the whole map: a linear layer
        EventWindow(3, 7, 6, 3, 3, 2, 1, 2),  # stride, with rows that no window needs
        EventWindow(1, 5, 5, 1, 1, 1, 0, 1),  # one position
        EventWindow(1, 6, 7, 5, 3, 1, 2, 1),  # oblong kernel, padding of two
        EventWindow(2, 4, 8, 3, 3, 1, 1, 2),  # a width that is a power of two: a step more than its columns' bits count
    )
    mutants = (
        ("wr_row != (line ^ row_t'(ROWS));", "1'b1;"),  # writes over rows still needed
    )

    def draw(self, rng):
        kernel = rng.choice([1, 2, 3, 5])
        return EventWindow(
            rng.randint(1, 5), rng.randint(kernel, 9), rng.randint(kernel, 9), kernel, kernel, rng.choice([1, 1, 2, 3]),
            rng.randint(0, kernel // 2), rng.randint(1, 5),
        )  # fmt: skip

    def beats(self, cfg, rng):
        return [rng.getrandbits(cfg.simd) for _ in range(cfg.height * cfg.width * cfg.time_steps * IMAGES)]
