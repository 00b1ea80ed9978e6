"""One encoded image as 8-bit pixels: turned as its EXIF says, and taken where its values are kept, else refused."""

from __future__ import annotations

from io import BytesIO
from typing import cast

import numpy as np
from PIL import ExifTags, Image
from PIL.Image import Transpose
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from scaflow.model.config import FolderConfig

Image.init()
# Pillow knows no more than the header of these; EPS it hands to another program
_UNREAD = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
FORMATS = tuple(sorted(set(Image.OPEN) - _UNREAD))
SUFFIXES = frozenset(  # MPO, of cameras with two pictures in a file, is opened as JPEG
    suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS or kind == "MPO"
)
_ONE_PICTURE = {"MPO", "PSD"}  # what else they hold are views and layers of the first
_SIXTEEN = {"I", "I;16", "I;16B", "I;16L", "I;16N"}  # grey modes of more than 8 bits
_UNNAMED = {
    "F": "holds floating-point values, whose black and white are not known",
    "CMYK": "is in printing colours (CMYK), which only a profile makes RGB",
    "LAB": "is in LAB colours, which 8-bit RGB does not hold",
    "HSV": "is in HSV colours, which 8-bit RGB does not hold",
}
_SAMPLES, _PHOTOMETRIC, _BITS = 339, 262, 258  # tags of TIFF
# what undoes each orientation. Not ImageOps.exif_transpose: that writes the EXIF anew, and stumbles over faulty ones.
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
}  # fmt: skip


def pixels_of(content: bytes, cfg: FolderConfig) -> tuple[np.ndarray, int]:
    """The pixels uint8 [C, H, W] of an encoded image, and how many further frames or pages it has.

    Raises:
        ValueError: its size, colours or depth are not those of `cfg`; whatever Pillow raises for damaged files.
    """
    channels, height, width = cfg.shape
    with Image.open(BytesIO(content), formats=FORMATS) as image:  # reads the header alone
        if sorted(image.size) != sorted((width, height)) and not cfg.resize:
            raise _misfit(image, width, height)
        further = 0 if image.format in _ONE_PICTURE else getattr(image, "n_frames", 1) - 1
        white = _white(image, content)
        image.load()
        upright = _upright(image)
        if upright.size != (width, height) and not cfg.resize:
            raise _misfit(upright, width, height)
        exact = _exact(upright, image, white)
        exact = _grey(exact, image.mode) if channels == 1 else exact.convert("RGB")
        if exact.size != (width, height):
            exact = exact.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(exact)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), further


def _misfit(image: Image.Image, width: int, height: int) -> ValueError:
    return ValueError(
        f"is {image.width} wide and {image.height} high where data.shape says {width} and {height}; "
        "set data.resize = true to scale such images"
    )


def _upright(image: Image.Image) -> Image.Image:
    """As viewers show it. Pillow has done so itself where the pixels of a TIFF are read."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a faulty EXIF raises anything; viewers show such an image as it lies
        return image
    return image if turn is None else image.transpose(turn)


def _white(image: Image.Image, content: bytes) -> int:
    """The value that means white in the file, before Pillow makes 8 bits of it.

    Raises:
        ValueError: its values are no unsigned ones with black at 0.
    """
    if image.format == "PNG":
        return 2 ** content[24] - 1  # bit depth, of the chunk that is always the first
    if image.format == "TIFF":
        tags = cast(TiffImageFile, image).tag_v2
        if set(tags.get(_SAMPLES, (1,))) & {2}:
            raise ValueError("holds signed values; save it as 8-bit grey or RGB")
        if image.mode in _SIXTEEN and tags.get(_PHOTOMETRIC) == 0:
            raise ValueError("holds 16-bit values with white at 0; save it as 8-bit grey")
        return 2 ** max(tags.get(_BITS, (1,))) - 1
    if image.format == "PPM":
        decoder = cast(ImageFile, image).tile[0].args
        if isinstance(decoder, tuple) and isinstance(decoder[-1], int):
            return decoder[-1]
    if image.format == "JPEG2000":
        at = content.find(b"\xff\x4f\xff\x51")  # the segment of sizes follows the start of the codestream
        count = int.from_bytes(content[at + 40 : at + 42], "big")
        depths = content[at + 42 : at + 42 + 3 * count : 3]
        if any(depth & 0x80 for depth in depths):
            raise ValueError("holds signed values; save it as 8-bit grey or RGB")
        return 2 ** (max(depths, default=7) + 1) - 1
    if image.format == "AVIF" and (at := content.find(b"av1C")) >= 0:
        flags = content[at + 6]
        return (4095 if flags & 0x20 else 1023) if flags & 0x40 else 255
    if image.format == "SGI":
        return 256 ** content[3] - 1
    return 65535 if image.mode in _SIXTEEN else 255


def _exact(image: Image.Image, source: Image.Image, white: int) -> Image.Image:
    """In mode 1, L, P, RGB or YCbCr, of 8 bits, with nothing lost.

    Args:
        source: the image as it was read, with what its file says of transparency.

    Raises:
        ValueError: that cannot be.
    """
    if source.mode in _UNNAMED:
        raise ValueError(f"{_UNNAMED[source.mode]}; save it as 8-bit grey or RGB")
    if source.mode in _SIXTEEN and white == 65535:
        values = np.asarray(image).astype(np.int64)
        if (transparent := source.info.get("transparency")) is not None and (values == transparent).any():
            raise _transparent(source)
        if ((values % 257 != 0) | (values < 0) | (values > white)).any():
            raise ValueError(
                f"has mode {source.mode}: 16 bits, with values ({values.min()} to {values.max()}) between those of 8 "
                "bits, which are the multiples of 257; scale and save it as 8-bit grey"
            )
        return Image.fromarray((values // 257).astype(np.uint8))
    if white > 255 or source.mode in _SIXTEEN:
        raise ValueError(
            f"has mode {source.mode} with values from 0 to {white}, of which 8 bits would lose some; "
            "save it with 8 bits a channel"
        )
    if not source.has_transparency_data:
        return image
    whole = image.convert("LA") if source.mode == "La" else image
    whole = whole.convert("RGBA")
    if np.asarray(whole.getchannel("A")).min() < 255:
        raise _transparent(source)
    return whole.convert("RGB")


def _transparent(image: Image.Image) -> ValueError:
    return ValueError(
        f"has mode {image.mode} and pixels that are transparent, with nothing said of what is behind; "
        "save it over a background, as grey or RGB"
    )


def _grey(image: Image.Image, mode: str) -> Image.Image:
    """In mode L; colours that are all greys are those."""
    if image.mode in ("1", "L"):
        return image.convert("L")
    red, *others = image.convert("RGB").split()
    if any(red.tobytes() != other.tobytes() for other in others):
        raise ValueError(f"is in colour (mode {mode}) where data.shape has 1 channel; use 3, or grey images")
    return red
