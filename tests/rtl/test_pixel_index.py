"""pixel_index: every word with its pixel; last on an image's last word only."""

from scaflow.quant.golden.pixel_index import PixelIndex
from scaflow.sim.suite import RtlSuite

IMAGES = 5


class TestPixelIndex(RtlSuite):
    stem = "pixel_index"
    directed = (PixelIndex(16, 5, 4), PixelIndex(3, 1, 1), PixelIndex(6, 4, 1))
    mutants = (
        ("{last_pixel && last_t, pixel, in_data}", "{last_t, pixel, in_data}"),  # ends at every pixel
        ("if (last_t) pixel", "pixel"),  # counts words
    )

    def draw(self, rng):
        return PixelIndex(rng.randint(1, 70), rng.randint(1, 9), rng.randint(1, 5))

    def beats(self, cfg, rng):
        return [rng.getrandbits(cfg.channels) for _ in range(cfg.pixels * cfg.time_steps * IMAGES)]

    def cycles(self, cfg, beats):
        """Wires: the last beat leaves in the cycle it comes."""
        return len(beats)
