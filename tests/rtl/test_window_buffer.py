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
        stride = rng.choice([1, 1, 2]) if kernel > 1 else 1  # a stride beyond the kernel starves the windows
        return shape(
            rng.randint(1, 12), rng.randint(kernel, 9), rng.randint(kernel, 9), kernel, kernel, stride,
            rng.randint(0, kernel - 1), rng.randint(1, 5), rng.randint(1, 4),
        )  # fmt: skip

    def beats(self, cfg, rng):
        return [rng.getrandbits(cfg.word_bits) for _ in range(cfg.height * cfg.width * cfg.time_steps * IMAGES)]

    def cycles(self, cfg, beats):
        """fill (the longest wait for a window's newest pixel, and 2) + one cycle a visited position."""
        rows = [[positions(cfg, y, x) for x in range(cfg.out_width)] for y in range(cfg.out_height)]
        windows = [window for row in rows for window in row]
        walked = [cfg.folds * sum(map(len, row)) for row in rows]
        if min(walked) < cfg.stride * cfg.width or sum(walked) < cfg.height * cfg.width:
            return None  # fewer cycles than the pixels need to come in
        fill, work = 0, 0
        for window in windows:  # of the first image, whose pixels are still coming in
            _, y, x = window[-1]
            fill = max(fill, (y * cfg.width + x + 1) * cfg.time_steps - 1 + 2 - work)
            work += cfg.time_steps * cfg.folds * len(window)
        return fill + IMAGES * work
