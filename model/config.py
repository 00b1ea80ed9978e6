"""The description of a network: what a TOML file may say, checked as a whole before anything runs.

Every section is a frozen pydantic model that rejects unknown keys; `load_network` collects all problems of a
file and reports them together.
"""

from __future__ import annotations

import codecs
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from scaflow.model.decay import nearest
from scaflow.model.input import InputConfig, input_problems
from scaflow.model.limits import AXI_BYTES, axi_problem, hardware_problems
from scaflow.model.shortcuts import shortcut_problems


def _is_none(value: object) -> bool:
    return value is None


def _is_map(value: object) -> bool:
    return value == "map"


def _unset(default: Any, **rules: Any) -> Any:
    """A field that a dump leaves out where it has its default: what was trained without it stays what it is."""
    return Field(default=default, exclude_if=lambda value: value == default, **rules)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FolderConfig(_Section):
    """Images of dataset "folder": `{train,test}/<class>/**/*.{png,jpg,...}` in a folder or a .zip (model/folder.py)."""

    path: str = Field(min_length=1)  # relative to the data folder
    shape: tuple[
        Annotated[int, Field(ge=1, le=3)], Annotated[int, Field(ge=4, le=1024)], Annotated[int, Field(ge=4, le=1024)]
    ]  # channels (1 or 3), height, width
    classes: int = Field(ge=2, le=1000)
    resize: bool = False  # images of another size are scaled to shape; otherwise they are an error


class LayerConfig(_Section):
    """One spiking layer. A linear layer is a convolution whose kernel is the whole map."""

    kind: Literal["conv", "linear"] = "conv"
    channels: int = Field(ge=1, le=4096)  # output channels (features of a linear layer)
    kernel: int = Field(default=3, ge=1, le=15)  # ignored by a linear layer, like stride and padding
    stride: int = Field(default=1, ge=1, le=4)
    padding: int = Field(default=1, ge=0, le=7)
    pool: int = Field(default=1, ge=1, le=8)  # OR-pooling of the spikes after the neuron; 1 is none
    bits: int | None = Field(default=None, ge=2, le=8)  # weight bits, where they differ from [quant]
    # -n: the current of the layer n before is added to this layer's, as it is where the maps agree, else that layer's
    # spikes through a 1x1 convolution
    shortcut: Annotated[int | None, Field(ge=-64, le=-1, exclude_if=_is_none)] = None


class NeuronConfig(_Section):
    """LIF (leak_shift L >= 1: v loses v * 2^-L a step; or decay) or IF (leak_shift 0), threshold 1.

    decay, instead of leak_shift, is what a step leaves of v: a part, as the nearest D / 2^K with 8 bits of D, or [D, K]
    reset "delayed" is "soft", with the threshold taken off behind the leak of the next step.
    """

    leak_shift: int = Field(default=1, ge=0, le=8)
    decay: Annotated[tuple[int, int] | None, BeforeValidator(nearest), Field(exclude_if=_is_none)] = None
    reset: Literal["hard", "soft", "delayed"] = "hard"
    v_reset: float = _unset(0.0, lt=1, allow_inf_nan=False)  # where a hard reset puts v, in thresholds
    surrogate: Literal["sigmoid", "arctan"] = "sigmoid"
    slope: float = Field(default=4.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _one_leak(cls, given: Any) -> Any:
        """Where only a decay is given, nothing else leaks."""
        if isinstance(given, dict) and given.get("decay") is not None and "leak_shift" not in given:
            return {**given, "leak_shift": 0}
        return given

    @model_validator(mode="after")
    def _fitting(self) -> NeuronConfig:
        problems = []
        if self.decay is not None and self.leak_shift:
            problems.append(f"leak_shift={self.leak_shift} and decay are two leaks; leave one of them out")
        if self.v_reset and self.reset != "hard":
            problems.append(f"v_reset is where a hard reset puts v; with reset={self.reset!r} leave it out")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def keep(self) -> float:
        """The part of a membrane that the leak of a step leaves."""
        if self.decay is not None:
            return self.decay[0] * 2.0 ** -self.decay[1]
        return 1 - 2.0**-self.leak_shift if self.leak_shift else 1.0


class QuantConfig(_Section):
    pixel_bits: int = _unset(8, ge=1, le=8)  # of each 8-bit pixel the highest are seen
    weight_bits: int = Field(default=4, ge=2, le=8)
    first_bits: int = Field(default=8, ge=2, le=8)
    last_bits: int = Field(default=8, ge=2, le=8)
    fraction_bits: int = Field(default=4, ge=0, le=8)  # F: the membrane's grid is 2^-F of an accumulator step


class AugmentConfig(_Section):
    """What happens to a training image, each time it is drawn."""

    crop: int = Field(default=0, ge=0, le=16)  # moved by up to so many pixels each way, over zeros
    flip: bool = False  # mirrored left to right, every second time


AUGMENTS = {  # by name
    "none": AugmentConfig(),
    "shift": AugmentConfig(crop=2),
    "shift-flip": AugmentConfig(crop=2, flip=True),
}


def _augment_named(value: object) -> object:
    if isinstance(value, str) and value not in AUGMENTS:
        raise ValueError(f"use one of {', '.join(AUGMENTS)}, or a table as {{ crop = 4, flip = true }}")
    return AUGMENTS[value] if isinstance(value, str) else value


def _augment_name(augment: AugmentConfig) -> str | dict[str, Any]:
    return next((name for name, named in AUGMENTS.items() if named == augment), None) or augment.model_dump()


class TrainConfig(_Section):
    epochs: int = Field(ge=1)
    finetune_epochs: int = Field(default=1, ge=0)  # on the folded, rounded form
    batch: int = Field(default=128, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(default=2e-3, gt=0)
    finetune_lr: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    weight_l1: float = _unset(0.0, ge=0)  # weight in the loss of the sum of |w| over the convolutions
    schedule: Literal["cosine", "onecycle", "step"] = "onecycle"  # step: x 0.1 after each third of the epochs
    augment: Annotated[AugmentConfig, BeforeValidator(_augment_named), PlainSerializer(_augment_name)] = AUGMENTS[
        "none"
    ]
    validation: int = Field(default=5000, ge=1)  # training images held out by the seed, to select the model
    precision: Literal["auto", "float32", "bfloat16"] = (
        "auto"  # of convolutions in training; auto: by the CPU
    )
    train_images: int | None = Field(default=None, ge=1)  # a subset of the training split, for quick runs
    seed: int = 0


Criterion = Literal[
    "sca", "sca-cycles", "sca-gradient", "sca-published", "random", "weight", "slimming", "rate", "rank", "criticality"
]


# the criterion where the budget is cycles and the description names none: what docs/study.md found best
FOR_CYCLES: Criterion = "weight"


class ScaConfig(_Section):
    """Spiking-channel-activity pruning and regrowth (Li et al., ICML 2024), and its rivals."""

    keep: float | None = Field(default=None, gt=0, le=1)  # channels left at the end, of all channels of the network
    cycles: float | None = _unset(None, gt=0, le=1)  # instead of keep: cycles left, of the dense list design's
    objective: Literal["sum", "bottleneck"] = _unset("sum")  # cycles of all stages, or of the slowest
    scheduler: Literal["list", "event"] = _unset("list")  # whose cycles; event: by the spikes of each epoch
    criterion: Criterion = _unset("sca")  # by what channels are ranked (model/criteria.py); see FOR_CYCLES
    momentum: float = _unset(0.0, ge=0, lt=1)  # of the scores' moving average over the epochs
    regrow: float = Field(default=0.1, ge=0, lt=1)  # regrown at each event, of the whole, decaying to 0
    warmup: float = _unset(0.0, ge=0, lt=1)  # the first part of the epochs, in which nothing is pruned
    ramp: float = Field(default=0.6, gt=0, le=1)  # cubic ramp of sparsity over this part of the epochs
    freeze: float = Field(default=0.25, ge=0, lt=1)  # the mask stands still for this last part of the epochs
    floor: float = Field(default=0.2, ge=0, le=1)  # no layer keeps less than this part of its channels
    granularity: int = Field(default=1, ge=1)  # channels kept in a layer are a multiple of this (the lanes)
    slimming: float = _unset(1e-4, ge=0)  # criterion "slimming": weight in the loss of the sum of |gamma|
    rate: float = Field(default=0.0, ge=0)  # weight in the loss of the spikes' cost, 0..1 (see model/rate.py)
    soft: float = _unset(0.0, ge=0, le=1)  # weight in the loss of the dense network's answers (see model/teacher.py)
    temperature: float = _unset(4.0, gt=0)  # of those answers

    @property
    def aim(self) -> float:
        """The part left at the end: of the channels, or of the cycles."""
        return self.cycles if self.cycles is not None else self.keep or 1.0

    def least(self, channels: int) -> int:
        """Channels that pruning leaves at least of so many."""
        floor = 0.0 if self.criterion == "sca-published" else self.floor
        return max(1, math.ceil(floor * channels / self.granularity - 1e-9)) * self.granularity

    def settled(self) -> ScaConfig:
        """With the criterion that suits the budget, where none is named."""
        if self.cycles is None or "criterion" in self.model_fields_set:
            return self
        return self.model_copy(update={"criterion": FOR_CYCLES})


Scheduler = Literal["list", "event", "auto"]


class EventFoldConfig(_Section):
    """The event design; without pe and simd it has the lanes of the other designs, layer by layer."""

    pe: tuple[int, ...] | None = None  # per spiking layer
    simd: tuple[int, ...] | None = None  # per spiking layer, then the read-out
    # per spiking layer: membranes that are updated a cycle, of those of its PE; None: all
    neurons: Annotated[tuple[int, ...] | None, Field(exclude_if=_is_none)] = None
    # per spiking layer, and where it walks events the read-out: kernel positions in a row and channels that share a
    # look-up, [1, 1] for none; None: none
    groups: Annotated[tuple[tuple[int, int], ...] | None, Field(exclude_if=_is_none)] = None
    scheduler: Scheduler | tuple[Scheduler, ...] = "auto"  # of all spiking layers, or of each; auto: fewer cycles
    readout: Scheduler = _unset("list")  # the scheduler of the read-out


def _of_a_beat(axi_bytes: int) -> int:
    if problem := axi_problem(axi_bytes):
        raise ValueError(problem)
    return axi_bytes


class FoldConfig(_Section):
    """Lanes: PE neurons in parallel, SIMD synapses a cycle; given per layer, or balanced for a total."""

    lanes: int = Field(default=256, ge=1)
    pe: tuple[int, ...] | None = None  # per spiking layer
    simd: tuple[int, ...] | None = None  # per spiking layer, then the read-out
    neurons: Annotated[tuple[int, ...] | None, Field(exclude_if=_is_none)] = None  # as in `event`
    axi_bytes: Annotated[int, AfterValidator(_of_a_beat)] = _unset(AXI_BYTES)  # of a beat in which images come in
    event: EventFoldConfig = EventFoldConfig()


class NetworkConfig(_Section):
    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    dataset: Literal["digits", "mnist", "fashion-mnist", "cifar10", "nmnist", "folder"]
    data: Annotated[FolderConfig | None, Field(exclude_if=_is_none)] = None  # where dataset is "folder"
    input: InputConfig = _unset(InputConfig())
    time_steps: int = Field(ge=1, le=64)  # of an image; each frame of a recording is one
    layers: tuple[LayerConfig, ...]
    # what the read-out sees: every pixel of the last map, or the mean over its pixels
    readout: Annotated[Literal["map", "mean"], Field(exclude_if=_is_map)] = "map"
    neuron: NeuronConfig = NeuronConfig()
    quant: QuantConfig = QuantConfig()
    train: TrainConfig
    sca: ScaConfig
    fold: FoldConfig = FoldConfig()

    @property
    def frames(self) -> int:
        """The most frames of a recording; 0: the network sees images."""
        return self.input.frames if self.input.kind == "frames" else 0

    @property
    def steps(self) -> int:
        """The most time steps that its neurons see."""
        return self.frames or self.time_steps

    @property
    def pixel_bits(self) -> int:
        """Of a pixel as the first layer sees it."""
        return self.input.bits if self.frames else self.quant.pixel_bits

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image, or of a frame."""
        shape = self.data.shape if self.data else INPUT_SHAPES[self.dataset]
        if not self.frames:
            return shape
        columns, rows = self.input.crop[2:] if self.input.crop else (shape[2], shape[1])
        return self.input.channels, rows, columns

    @property
    def classes(self) -> int:
        return self.data.classes if self.data else 10

    @property
    def residual(self) -> bool:
        """Has it shortcuts?"""
        return any(layer.shortcut is not None for layer in self.layers)

    @model_validator(mode="before")
    @classmethod
    def _one_step(cls, given: Any) -> Any:
        """A frame is a time step: of recordings nothing is said of steps."""
        if isinstance(given, dict) and "time_steps" not in given and isinstance(given.get("input"), dict | InputConfig):
            kind = given["input"].get("kind") if isinstance(given["input"], dict) else given["input"].kind
            return {**given, "time_steps": 1} if kind == "frames" else given
        return given

    @model_validator(mode="after")
    def _shapes(self) -> NetworkConfig:
        problems = []
        n = len(self.layers)
        if not n:
            problems.append("layers: there is none; give at least one spiking layer")
        if (self.dataset == "folder") != (self.data is not None):
            wrong = "is missing" if self.data is None else f"is for dataset = \"folder\", not {self.dataset!r}"
            raise ValueError(f"data: the section {wrong}; give it exactly with dataset = \"folder\"")
        problems += input_problems(self, INPUT_SHAPES.get(self.dataset))
        _, height, width = self.input_shape
        flat = False
        maps: list[tuple[int, int, int]] = []  # of the currents
        pooled: list[tuple[int, int]] = []
        for i, layer in enumerate(self.layers):
            where = f"layers[{i}]"
            if layer.kind == "linear":
                flat, height, width = True, 1, 1
                if layer.pool != 1:
                    problems.append(
                        f"{where}: pool={layer.pool} after a linear layer; there is one pixel: use 1"
                    )
                if layer.shortcut is not None:
                    problems.append(f"{where}: shortcut={layer.shortcut} of a linear layer; only convolutions have one")
                continue
            if flat:
                problems.append(
                    f"{where}: a convolution after a linear layer; make it linear or move it before"
                )
                continue
            if layer.padding >= layer.kernel:
                problems.append(
                    f"{where}: padding={layer.padding} must be below kernel={layer.kernel}, "
                    "or some windows would be empty"
                )
            height = (height + 2 * layer.padding - layer.kernel) // layer.stride + 1
            width = (width + 2 * layer.padding - layer.kernel) // layer.stride + 1
            if height < 1 or width < 1:
                problems.append(
                    f"{where}: kernel={layer.kernel} does not fit the map; use a smaller one or more padding"
                )
                break
            maps.append((layer.channels, height, width))
            problems += shortcut_problems(where, layer.shortcut, maps, pooled)
            height, width = height // layer.pool, width // layer.pool
            pooled.append((height, width))
            if height < 1 or width < 1:
                problems.append(f"{where}: pool={layer.pool} leaves no pixel; use a smaller pool")
                break
        lanes, total = self.sca.granularity, sum(layer.channels for layer in self.layers)
        for i, layer in enumerate(self.layers):
            if layer.channels % lanes:
                problems.append(
                    f"layers[{i}]: channels={layer.channels} is no multiple of sca.granularity={lanes}"
                )
        least = sum(
            max(1, math.ceil(self.sca.floor * layer.channels / lanes - 1e-9)) * lanes for layer in self.layers
        )
        if (self.sca.keep is None) == (self.sca.cycles is None):
            problems.append("sca: give keep (a part of the channels) or cycles (of the dense design's), one of them")
        elif self.sca.keep is not None and least > self.sca.keep * total:
            problems.append(
                f"sca: keep={self.sca.keep} of {total} channels is less than the {least} that floor="
                f"{self.sca.floor} and granularity={lanes} protect; raise keep or lower these"
            )
        sca = self.sca
        if sca.warmup + sca.ramp + sca.freeze > 1 + 1e-9:
            before = f"warmup={sca.warmup} + " if sca.warmup else ""
            problems.append(f"sca: {before}ramp={sca.ramp} + freeze={sca.freeze} must not exceed 1")
        problems += hardware_problems(self)
        if problems:
            raise ValueError("\n".join(problems))
        return self


INPUT_SHAPES: dict[str, tuple[int, int, int]] = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "fashion-mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "nmnist": (2, 34, 34),
}


def load_network(path: Path) -> NetworkConfig:
    """Read a network description.

    Raises:
        ValueError: the file is missing, no TOML, or breaks a rule; all problems are listed, one per line.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; give the path of a network TOML") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; give the path of a network TOML") from None
    try:
        data = tomllib.loads(_text(content))
    except RecursionError:
        raise ValueError(f"{path}: not valid TOML: its brackets are nested too deeply") from None
    except ValueError as error:  # of the text, of its syntax, of a number of too many digits
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    try:
        network = NetworkConfig.model_validate(data)
        return network.model_copy(update={"sca": network.sca.settled()})
    except ValidationError as error:
        lines = _lines(error) + _rules_of_the_rest(data, error)
        raise ValueError(
            f"{path}: {len(lines)} problem(s)\n" + "\n".join(f"  {line}" for line in lines)
        ) from None


def _text(content: bytes) -> str:
    """The text of a TOML file: UTF-8, with or without the mark that some editors put before it.

    Raises:
        ValueError: it is none; says where.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise ValueError("its text is UTF-16 or UTF-32; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise ValueError(
            f"byte 0x{content[error.start]:02x} (at line {line}, column {column}) is no UTF-8; save the file as UTF-8"
        ) from None


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        value = "" if isinstance(item["input"], dict) else f" (value {item['input']!r})"
        lines += [f"{where}: {message}{value}" if where else message for message in message.split("\n")]
    return lines


def _rules_of_the_rest(data: dict[str, Any], error: ValidationError) -> list[str]:
    """The rules between sections, for the sections that are well-formed.

    They are only tried on a network whose every field is good; so the faulty sections are replaced by ones that
    break no rule.
    """
    faulty = {item["loc"][0] for item in error.errors() if item["loc"]}
    if not faulty or faulty & {"layers", "dataset", "data", "input"}:
        return []
    harmless = {"name": "x", "time_steps": 1, "train": {"epochs": 1}, "sca": {"keep": 1.0}}
    rest = {key: value for key, value in data.items() if key not in faulty}
    try:
        NetworkConfig.model_validate(harmless | rest)
    except ValidationError as further:
        return _lines(further)
    return []
