"""event_window: the flags of every window, in order, none from the padding; silent stretches at full speed."""

from scaflow.quant.golden.event_window import EventWindow, scan
from scaflow.sim.suite import RtlSuite

IMAGES = 3


class TestEventWindow(RtlSuite):
    stem = "event_window"
    directed = (
        EventWindow(2, 5, 6, 3, 3, 1, 1, 1, 1, 4),  # the usual 3x3
        EventWindow(1, 4, 4, 4, 4, 1, 1, 0, 0, 3),  # the whole map: a linear layer
        EventWindow(3, 7, 6, 3, 3, 2, 2, 1, 1, 2),  # stride, with rows that no window needs
        EventWindow(1, 5, 5, 1, 1, 1, 1, 0, 0, 1),  # one position
        EventWindow(1, 6, 7, 5, 3, 1, 1, 2, 2, 1),  # oblong kernel, padding of two
        EventWindow(2, 4, 8, 3, 3, 1, 1, 1, 1, 2),  # a width that is a power of two: a step more than its bits count
        EventWindow(1, 7, 5, 3, 1, 2, 1, 1, 0, 2),  # rows of windows, put together before
    )
    mutants = (
        ("(push_row ? next_row : wr_row) != (line ^ row_t'(ROWS));", "1'b1;"),  # writes over rows still needed
        ("{s, t} < {step_t'(had_col), had_t}", "1'b1"),  # reads before the column is there
        ("{s, t} < {step_t'(had_col), had_t}", "{s, t} < {step_t'(wr_col), wr_t}"),  # before its flags are
        ("returned || places > (spent ? 1 : 0)", "1'b1"),  # looks at windows the queue has no place for
        ("if (own || late) x <=", "if (own) x <="),  # windows at the right edge are not counted
        ("inside_r_3[k%KERNEL_W] && column", "column"),  # beyond the right edge lies the next row
        ("!inside_l_2[KERNEL_W-1-i/TIME_STEPS]", "1'b0"),  # beyond the left edge lies the row before
        ("inside_y_2[k] ? read_2[slot_2[k]] : '0", "read_2[slot_2[k]]"),  # above the map lies another image
        ("prior <= MERGE > 0 && !last_y", "prior <= 1'b0"),  # windows at the right edge are left out
        ("LESS < (LAST + 1) / 2 ? LESS : (LAST + 1) / 2", "0"),  # a row takes longer than it must
    )

    def draw(self, rng):
        kernel, stride = rng.choice([1, 2, 3, 5]), rng.choice([1, 1, 2, 3])
        padding = rng.randint(0, kernel // 2)
        width, aside, hang = rng.choice([(kernel, stride, padding), (kernel, stride, padding), (1, 1, 0)])
        return EventWindow(
            rng.randint(1, 5), rng.randint(kernel, 9), rng.randint(width, 9), kernel, width, stride, aside, padding,
            hang, rng.randint(1, 5),
        )  # fmt: skip

    def beats(self, cfg, rng):
        return [rng.getrandbits(cfg.simd) for _ in range(cfg.height * cfg.width * cfg.time_steps * IMAGES)]

    def cycles(self, cfg, beats):
        """A step a cycle, once its newest beat is there; a beat a cycle, once its row's place in the ring is free."""
        per_row = cfg.width * cfg.time_steps
        out_h = (cfg.height + 2 * cfg.padding_h - cfg.kernel_h) // cfg.stride_h + 1
        out_w = (cfg.width + 2 * cfg.padding_w - cfg.kernel_w) // cfg.stride_w + 1
        tops = [n * cfg.height - cfg.padding_h + oy * cfg.stride_h for n in range(IMAGES) for oy in range(out_h)]
        accepted, looked, left = [], 0, []  # cycles of the beats, of the last step, of the windows
        for image in range(IMAGES):
            for need, emits in scan(cfg):
                while len(accepted) <= image * cfg.height * per_row + need:
                    # the row whose place it takes is free once a window of a row that starts below it has left
                    oldest = len(accepted) // per_row - cfg.rows + 1
                    below = next(i for i, top in enumerate(tops) if top >= oldest)
                    free = left[below * out_w * cfg.time_steps] + 2 if below else 0
                    accepted.append(max(accepted[-1] + 1 if accepted else 0, free))
                looked = max(looked, accepted[image * cfg.height * per_row + need] + 1) + 1
                if emits:
                    left.append(looked + 4)
        return left[-1] + 1
