"""Golden twin of hw/rtl/window_row.sv: the words of a row of kernel positions side by side, channels in groups."""

from __future__ import annotations

from dataclasses import dataclass

from scaflow.quant.golden.beats import batches, ceil_div, unpack


@dataclass(frozen=True)
class WindowRow:
    channels: int
    kept: int  # channels 0..kept-1 count
    group: int  # channels that stand side by side
    in_bits: int
    height: int
    width: int
    kernel_w: int
    stride: int
    padding: int
    time_steps: int  # beats a pixel
    columns: int  # pixels a beat, a divisor of stride and width

    @property
    def groups(self) -> int:
        return ceil_div(self.kept, self.group)

    @property
    def pattern_bits(self) -> int:
        """Of a group's row of positions."""
        return self.kernel_w * self.group * self.in_bits

    @property
    def out_width(self) -> int:
        return (self.width + 2 * self.padding - self.kernel_w) // self.stride + 1

    @property
    def lead(self) -> int:
        """Steps of a row before the one with which its first window is complete."""
        return (self.kernel_w - 1 - self.padding) // self.columns

    @property
    def every(self) -> int:
        """Steps from a window to the next."""
        return self.stride // self.columns

    @property
    def takes(self) -> int:
        """Steps of a row in which columns come in."""
        return self.width // self.columns

    @property
    def over(self) -> int:
        """Steps of a row behind these."""
        return max(0, (self.out_width - 1) * self.every + self.lead + 1 - self.takes)

    @property
    def merge(self) -> int:
        """Steps that are also the first ones of the next row of the image."""
        return self.over if self.over <= self.lead else 0

    @property
    def steps(self) -> int:
        """Of an image, a cycle each."""
        return (self.height * (self.takes + self.over - self.merge) + self.merge) * self.time_steps


def window_row(cfg: WindowRow, beats: list[int]) -> list[int]:
    """beats: pixels in order pixel, t. Returns the rows of positions, by row of the map, column of windows, t."""
    word_bits, out = cfg.channels * cfg.in_bits, []
    for image in batches(beats, cfg.height * cfg.takes * cfg.time_steps):
        for y in range(cfg.height):
            for x0 in range(-cfg.padding, cfg.width + cfg.padding - cfg.kernel_w + 1, cfg.stride):
                for t in range(cfg.time_steps):
                    beat = place = 0
                    words = []
                    for x in range(x0, x0 + cfg.kernel_w):
                        word = 0
                        if 0 <= x < cfg.width:
                            word = image[(y * cfg.takes + x // cfg.columns) * cfg.time_steps + t]
                            word >>= x % cfg.columns * word_bits
                        words.append(unpack(word, cfg.in_bits, cfg.kept) + [0] * (cfg.groups * cfg.group - cfg.kept))
                    for g in range(cfg.groups):
                        for acts in words:
                            for act in acts[g * cfg.group : (g + 1) * cfg.group]:
                                beat |= act << place
                                place += cfg.in_bits
                    out.append(beat)
    return out
