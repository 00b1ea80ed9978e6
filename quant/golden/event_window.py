"""Golden twin of hw/rtl/event_window.sv: which words of each window hold an event, and where the window lies."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.beats import address_bits, batches


@dataclass(frozen=True)
class EventWindow:
    simd: int  # flags a beat
    height: int
    width: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    padding_h: int
    padding_w: int
    time_steps: int  # beats a pixel

    @property
    def rows(self) -> int:
        """Rows of the ring: those of a window, and those that the next row of windows or the next image adds."""
        last = (self.height + 2 * self.padding_h - self.kernel_h) // self.stride_h * self.stride_h
        return 1 << (self.kernel_h + max(self.stride_h, self.height - last) - 1).bit_length()


def scan(cfg: EventWindow) -> list[tuple[int, bool]]:
    """How a column and t after the other of an image is looked at: (the newest beat that needs, a window ends there).

    A row of windows looks at `kernel_w - 1 - padding` columns before its first window. Its columns beyond the right
    edge take in nothing: such a step also stands for one of the first of the next row of windows of the image.
    """
    last_y = (cfg.height + 2 * cfg.padding_h - cfg.kernel_h) // cfg.stride_h
    last_x = (cfg.width + 2 * cfg.padding_w - cfg.kernel_w) // cfg.stride_w
    lead = cfg.kernel_w - 1 - cfg.padding_w
    last = last_x * cfg.stride_w + lead
    merged = max(0, min(last + 1 - cfg.width, lead, (last + 1) // 2))
    out = []
    for oy in range(last_y + 1):
        newest = min(oy * cfg.stride_h - cfg.padding_h + cfg.kernel_h, cfg.height) - 1
        for step in range(last + 1 if oy == last_y else last + 1 - merged):
            column = min(step, cfg.width - 1)
            before = step + last + 1 - merged if oy and step < merged else -1  # the same step in the row above
            emits = any(s >= lead and (s - lead) % cfg.stride_w == 0 for s in (step, before))
            for t in range(cfg.time_steps):
                out.append(((newest * cfg.width + column) * cfg.time_steps + t, emits))
    return out


def event_window(cfg: EventWindow, beats: list[int]) -> list[int]:
    """beats: a flag a bank, in order pixel, t. Returns (flags [bank][k], t, column, row) in order output pixel, t."""
    col_bits, t_bits = address_bits(cfg.width), address_bits(cfg.time_steps)
    kernel = cfg.kernel_h * cfg.kernel_w
    out = []
    for n, image in enumerate(batches(beats, cfg.height * cfg.width * cfg.time_steps)):
        for y0 in range(-cfg.padding_h, cfg.height + cfg.padding_h - cfg.kernel_h + 1, cfg.stride_h):
            for x0 in range(-cfg.padding_w, cfg.width + cfg.padding_w - cfg.kernel_w + 1, cfg.stride_w):
                row, col = (n * cfg.height + y0) % cfg.rows, x0 % (1 << col_bits)
                for t in range(cfg.time_steps):
                    beat = t | col << t_bits | row << (t_bits + col_bits)
                    beat <<= cfg.simd * kernel
                    for k in range(kernel):
                        y, x = y0 + k // cfg.kernel_w, x0 + k % cfg.kernel_w
                        if 0 <= y < cfg.height and 0 <= x < cfg.width:
                            word = image[(y * cfg.width + x) * cfg.time_steps + t]
                            beat |= sum((word >> b & 1) << (b * kernel + k) for b in range(cfg.simd))
                    out.append(beat)
    return out
