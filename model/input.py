"""What a network sees, `[input]` of its description: still images, or recordings of an event camera in frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

if TYPE_CHECKING:
    from scaflow.model.config import NetworkConfig
    from scaflow.model.events.binning import Binning

MOST_FRAMES = 4096  # of a recording

Place = Annotated[int, Field(ge=0, lt=1 << 14)]
Extent = Annotated[int, Field(ge=4, le=1024)]


class InputConfig(BaseModel, frozen=True, extra="forbid"):
    """
    kind: images; or frames, in which the events of a recording are counted, a time step each.
    order: pixel: all steps of a pixel together; time: one frame after the other, membranes living on between them.
    frames: the most of a recording; with `bins` all have as many.

    The others are those of `model.events.binning.Binning`, and of the hardware's axis_events.
    """

    kind: Literal["images", "frames"] = "images"
    order: Literal["pixel", "time"] = "pixel"
    frames: int = Field(default=0, ge=0, le=MOST_FRAMES)
    bin_us: int | None = Field(default=None, ge=1)
    bins: int | None = Field(default=None, ge=1, le=MOST_FRAMES)
    bits: int = Field(default=1, ge=1, le=8)
    polarity: Literal["channels", "joined"] = "channels"
    crop: tuple[Place, Place, Extent, Extent] | None = None  # x, y, columns, rows
    denoise_us: int | None = Field(default=None, ge=1)
    start: Literal["first", "zero"] = "first"

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, given: Any) -> Any:
        """Frames come in order of time, and of a set number of bins there are as many."""
        if not isinstance(given, dict) or given.get("kind") != "frames":
            return given
        bins = {"frames": given["bins"]} if isinstance(given.get("bins"), int) else {}
        return {"order": "time"} | bins | given

    @model_validator(mode="after")
    def _fitting(self) -> InputConfig:
        problems = []
        if self.kind == "images":
            beside = sorted(self.model_fields_set - {"kind", "order"})
            problems += [f"{name} is of kind = \"frames\"; leave it out" for name in beside]
            if self.order == "time":
                problems.append("order='time' is of kind = \"frames\"; an image has no time: use pixel")
        else:
            if self.order == "pixel":
                problems.append("order='pixel': frames come one after the other; use time, or leave it out")
            if (self.bin_us is None) == (self.bins is None):
                problems.append(f"bin_us={self.bin_us} and bins={self.bins}: give exactly one of them")
            elif self.bins is None and not self.frames:
                problems.append("frames is missing: with bin_us, give the most frames that a recording can have")
            elif self.bins is not None and self.frames != self.bins:
                problems.append(f"frames={self.frames} and bins={self.bins} differ; leave frames out")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def channels(self) -> int:
        """Of a frame."""
        return 2 if self.polarity == "channels" else 1

    @property
    def binning(self) -> Binning:
        """How a recording becomes frames."""
        from scaflow.model.events.binning import Binning  # numpy, which a description does without

        return Binning(
            self.bin_us, self.bins, self.bits, self.polarity, self.crop, self.denoise_us, self.start
        )


def input_problems(cfg: NetworkConfig, known: tuple[int, int, int] | None) -> list[str]:
    """What a whole description says of its input that cannot be, a line each.

    Args:
        known: the shape of the data set's images or of its sensor; None: data.shape.
    """
    told, data = cfg.input, cfg.data
    if told.kind == "images":
        if cfg.dataset == "nmnist":
            return ['input: nmnist has recordings; give kind = "frames", bin_us or bins, and frames']
        if data and data.shape[0] == 2:
            return ["data.shape: 2 channels; images have 1 (grey) or 3 (colour)"]
        return []
    problems = []
    if cfg.dataset not in ("nmnist", "folder"):
        problems.append(f"input.kind: frames are of recordings, and {cfg.dataset} has images; use images")
    if cfg.time_steps != 1:
        problems.append(f"time_steps={cfg.time_steps}: each frame is one time step; leave it out")
    if cfg.quant.pixel_bits != 8:
        problems.append(f"quant.pixel_bits={cfg.quant.pixel_bits} is of images; give input.bits instead")
    if cfg.residual:
        problems.append("layers: shortcuts are of images; leave them out where frames come in")
    if data and data.resize:
        problems.append("data.resize: recordings are not scaled; leave it out")
    if data and data.shape[0] != told.channels:
        problems.append(
            f"data.shape: {data.shape[0]} channel(s), and with input.polarity={told.polarity!r} a frame has"
            f" {told.channels}; correct one"
        )
    _, height, width = known or (data.shape if data else (0, 0, 0))
    if told.crop and (told.crop[0] + told.crop[2] > width or told.crop[1] + told.crop[3] > height):
        problems.append(
            f"input.crop={list(told.crop)} reaches beyond {width} columns and {height} rows; make it smaller"
        )
    return problems
