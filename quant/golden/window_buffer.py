"""Golden twin of hw/rtl/window_buffer.sv: the windows of a convolution, padding left out."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.beats import address_bits, batches


@dataclass(frozen=True)
class WindowBuffer:
    word_bits: int
    height: int
    width: int
    kernel_h: int
    kernel_w: int
    stride: int
    padding: int
    time_steps: int  # beats a pixel
    folds: int  # replays of each window
    depth: int  # beats in the ring, a power of two

    @property
    def out_height(self) -> int:
        return (self.height + 2 * self.padding - self.kernel_h) // self.stride + 1

    @property
    def out_width(self) -> int:
        return (self.width + 2 * self.padding - self.kernel_w) // self.stride + 1


def ring_depth(height: int, width: int, kernel_h: int, stride: int, padding: int, time_steps: int) -> int:
    """Smallest power of two that lets the next row of windows, and the next image, arrive behind the current one."""
    last = (height + 2 * padding - kernel_h) // stride * stride - padding  # first row of the last windows
    rows = max(kernel_h + stride, height - max(0, last) + kernel_h - padding)
    return 1 << (rows * width * time_steps - 1).bit_length()


def positions(cfg: WindowBuffer, oy: int, ox: int) -> list[tuple[int, int, int]]:
    """(k, y, x) of the kernel positions of a window that lie inside the map, in raster order."""
    y0, x0 = oy * cfg.stride - cfg.padding, ox * cfg.stride - cfg.padding
    return [
        (ky * cfg.kernel_w + kx, y0 + ky, x0 + kx)
        for ky in range(cfg.kernel_h)
        for kx in range(cfg.kernel_w)
        if 0 <= y0 + ky < cfg.height and 0 <= x0 + kx < cfg.width
    ]


def window_buffer(cfg: WindowBuffer, beats: list[int]) -> list[int]:
    """beats: words in order pixel, t. Returns (word, k, last) in order output pixel, t, fold, k, for whole images."""
    k_bits = address_bits(cfg.kernel_h * cfg.kernel_w)
    out = []
    for image in batches(beats, cfg.height * cfg.width * cfg.time_steps):
        for oy in range(cfg.out_height):
            for ox in range(cfg.out_width):
                window = positions(cfg, oy, ox)
                for t in range(cfg.time_steps):
                    for _ in range(cfg.folds):
                        for k, y, x in window:
                            word = image[(y * cfg.width + x) * cfg.time_steps + t]
                            last = int(k == window[-1][0])
                            out.append(word | k << cfg.word_bits | last << (cfg.word_bits + k_bits))
    return out
