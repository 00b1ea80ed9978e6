"""window_row: each row of a window's positions once, nothing from beyond the edges; a step a cycle."""

from scaflow.quant.golden.window_row import WindowRow
from scaflow.sim.suite import RtlSuite

IMAGES = 3


class TestWindowRow(RtlSuite):
    stem = "window_row"
    directed = (
        WindowRow(7, 7, 2, 1, 4, 6, 3, 1, 1, 3, 1),  # the usual 3x3, a group that is not full
        WindowRow(3, 2, 1, 1, 3, 9, 4, 2, 0, 2, 1),  # stride, a pruned channel, a column that no window needs
        WindowRow(1, 1, 1, 8, 3, 12, 4, 2, 0, 1, 2),  # pixels, two a beat
        WindowRow(2, 2, 2, 2, 3, 8, 5, 4, 2, 1, 4),  # four a beat, padding
        WindowRow(2, 2, 1, 1, 3, 5, 4, 1, 2, 2, 1),  # an even kernel: more windows hang over on the right
        WindowRow(5, 5, 4, 1, 3, 4, 1, 1, 0, 2, 1),  # one position: channels alone are put together
    )
    mutants = (
        ("step_t'(LEAD)) && phase == '0;", "step_t'(LEAD));", 1),  # a window a column
        ("assign in_ready = enable && takes;", "assign in_ready = enable;"),  # takes a beat behind the last column
        ("MERGE == 0 || last_y ?", "MERGE == 0 ?"),  # the last windows wait for another image
        ("prior <= MERGE > 0 && !last_y", "prior <= 1'b0"),  # windows over the right edge are left out
        ("first + i < 0 &&", "1'b0 &&"),  # beyond the left edge lies the row before
        ("first + i >= int'(WIDTH) &&", "1'b0 &&"),  # beyond the right edge lies the next row
        ("late ? again >= 0 && s == step_t'(again) :", "1'b0 ? 1'b0 :"),
        ("past[i] <= past[i-1]", "past[i] <= past[0]"),  # the steps of a pixel are mixed
        ("wire enable = !out_valid || out_ready", "wire enable = 1'b1"),  # runs over what waits
        ("span = line[HELD+OFFSET:0]", "span = line[HELD+OFFSET:0] >> IN_BITS * KEPT"),  # windows begin a column late
    )

    def draw(self, rng):
        kernel = rng.randint(1, 5)
        stride = rng.choice([1, 1, 2, 3, 4])
        columns = rng.choice([c for c in (1, 2, 4) if stride % c == 0])
        channels = rng.randint(1, 9)
        return WindowRow(
            channels, rng.randint(1, channels), rng.choice([1, 2, 4]), rng.choice([1, 1, 3]), rng.randint(1, 4),
            columns * rng.randint(-(-kernel // columns), 8), kernel, stride, rng.randint(0, kernel - 1),
            1 if columns > 1 else rng.randint(1, 4), columns,
        )  # fmt: skip

    def beats(self, cfg, rng):
        bits = cfg.columns * cfg.channels * cfg.in_bits
        return [rng.getrandbits(bits) for _ in range(cfg.height * cfg.takes * cfg.time_steps * IMAGES)]

    def cycles(self, cfg, beats):
        """A step a cycle, and one to leave; the columns behind the last window are of no further use."""
        behind = max(0, cfg.takes - 1 - (cfg.out_width - 1) * cfg.every - cfg.lead)
        return cfg.steps * IMAGES - behind * cfg.time_steps + 1
