"""window_buffer: windows in order, padding left out, no bubble between windows, rows and images."""

from scaflow.quant.golden.window_buffer import WindowBuffer, positions, ring_depth
from scaflow.sim.suite import RtlSuite

IMAGES = 3


def shape(word_bits, height, width, kernel_h, kernel_w, stride, padding, time_steps, folds):
    depth = ring_depth(height, width, kernel_h, stride, padding, time_steps)
    return WindowBuffer(word_bits, height, width, kernel_h, kernel_w, stride, padding, time_steps, folds, depth)


class TestWindowBuffer(RtlSuite):
    stem = "window_buffer"
    directed = (
        shape(5, 5, 6, 3, 3, 1, 1, 4, 2),  # the usual 3x3
        shape(4, 4, 4, 4, 4, 1, 0, 3, 2),  # the whole map: a linear layer
        shape(3, 7, 6, 3, 3, 2, 1, 2, 1),  # stride, with rows that no window needs
        shape(3, 5, 5, 1, 1, 1, 0, 1, 1),  # a window a cycle
        shape(2, 6, 7, 5, 3, 1, 2, 1, 3),  # oblong kernel, padding of two
        shape(4, 6, 5, 1, 1, 2, 0, 2, 1),  # a downsampling: three of four pixels are passed over
        shape(2, 9, 8, 3, 3, 5, 0, 1, 1),  # a stride beyond the kernel, one time step
        shape(3, 7, 7, 2, 2, 5, 1, 3, 4),  # the same with padding; a window takes longer than its pixels
    )
    mutants = (
        ("wr_ptr != (line ^ ptr_t'(DEPTH));", "1'b1;"),  # writes over rows still needed
        ("window_valid && !margin[ADDR_BITS]", "window_valid"),  # reads before the window is there
        ("enable = !out_valid || out_ready", "enable = 1'b1"),  # ready dropped
        ("iy < 0 ? k_t'(-iy) : '0", "'0"),  # visits the padding above
        ("addr <= fold_end ? org_t + 1'b1 : org_t", "addr <= org_t"),  # time stands still
    )

    def draw(self, rng):
        kernel = rng.choice([1, 2, 3, 5])
        stride = rng.choice([1, 1, 2, 3, 5])
        return shape(
            rng.randint(1, 12), rng.randint(kernel, 9), rng.randint(kernel, 9), kernel, kernel, stride,
            rng.randint(0, kernel - 1), rng.randint(1, 5), rng.randint(1, 4),
        )  # fmt: skip

    def beats(self, cfg, rng):
        return [rng.getrandbits(cfg.word_bits) for _ in range(cfg.height * cfg.width * cfg.time_steps * IMAGES)]

    def cycles(self, cfg, beats):
        """A position a cycle once its window is there; a word a cycle once the windows have left a place for it."""
        row, rows = cfg.width * cfg.time_steps, [max(0, y * cfg.stride - cfg.padding) for y in range(cfg.out_height)]
        lines = [(image * cfg.height + y) * row for image in range(IMAGES) for y in rows]  # oldest word a row needs
        wrote, left, walk = [], [], 0  # cycles of the words, of the rows' last positions, of the last position
        for image in range(IMAGES):
            for oy in range(cfg.out_height):
                for ox in range(cfg.out_width):
                    window = positions(cfg, oy, ox)
                    _, y, x = window[-1]
                    need = (image * cfg.height + y) * row + (x + 1) * cfg.time_steps
                    while len(wrote) < need:
                        waits_for = next(i for i, line in enumerate(lines) if line > len(wrote) - cfg.depth)
                        room = left[waits_for - 1] + 1 if waits_for else 0
                        wrote.append(max(wrote[-1] + 1 if wrote else 0, room))
                    walk = max(walk, wrote[need - 1]) + cfg.time_steps * cfg.folds * len(window)
                left.append(walk)
        return walk + 2
