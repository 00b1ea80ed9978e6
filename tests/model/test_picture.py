"""Encoded images: every orientation, what is exact and what would lose something, and what else a file holds."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Transpose

from scaflow.model.config import FolderConfig
from scaflow.model.picture import SUFFIXES, pixels_of

COLOUR = FolderConfig(path="set", shape=(3, 6, 5), classes=2)
GREY = FolderConfig(path="set", shape=(1, 6, 5), classes=2)
RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
ONE = RGB[:, :, 0]
OPAQUE = np.full((6, 5), 255, np.uint8)
# how a camera that lay so has stored the upright picture
STORED = {
    1: None, 2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_90, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_270,
}  # fmt: skip


def enc(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def rgb(content: bytes) -> np.ndarray:
    return pixels_of(content, COLOUR)[0].transpose(1, 2, 0)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(colour_type: int, values: np.ndarray) -> bytes:
    """16 bits a channel; Pillow writes none in colour."""
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    packed = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + packed + chunk(b"IEND", b"")


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("kind", "options", "error"),
    [
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 100, "subsampling": 0}, 3),
    ],
)
def test_pictures_are_turned_as_their_exif_says(kind, options, error, orientation):
    turn, exif = STORED[orientation], Image.Exif()
    exif[0x0112] = orientation
    upright = Image.fromarray(RGB)
    stored = upright if turn is None else upright.transpose(turn)
    seen = rgb(enc(stored, kind, exif=exif, **options)).astype(int)
    assert abs(seen - RGB).max() <= error


def test_the_size_is_that_of_the_turned_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.raises(ValueError, match="is 6 wide and 5 high"):
        pixels_of(enc(RGB, exif=exif), COLOUR)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"?"])
def test_a_faulty_exif_turns_nothing(exif):
    assert np.array_equal(rgb(enc(RGB, exif=exif)), RGB)


@pytest.mark.parametrize(
    ("content", "pixels"),
    [
        (enc(np.dstack([RGB, OPAQUE])), RGB),
        (enc(np.dstack([RGB, OPAQUE]), "TIFF"), RGB),
        (enc(Image.fromarray(np.dstack([ONE, OPAQUE]), "LA")), ONE),
        (enc(Image.fromarray(RGB).quantize(200), transparency=250), RGB),
        (enc(RGB | 1, transparency=(2, 2, 2)), RGB | 1),
        (enc(ONE | 1, transparency=2), ONE | 1),
        (enc(ONE.astype(np.uint16) * 257), ONE),
        (enc(ONE.astype(np.uint16) * 257, "TIFF"), ONE),
        (enc(Image.fromarray((ONE.astype(">u2") * 257).astype("<u2")), "PPM"), ONE),
        (enc(ONE.astype(np.uint16) * 257, "JPEG2000"), ONE),
        (enc(Image.fromarray(ONE).convert("1", dither=0)), np.where(ONE > 127, 255, 0)),
        (enc(ONE, "GIF"), ONE),
        (enc(np.dstack([ONE] * 3)), ONE),
    ],
    ids=[
        "RGBA", "RGBA tif", "LA", "palette", "key colour", "key grey", "16 png", "16 tif", "16 pgm", "16 jp2", "1",
        "gif", "grey RGB",
    ],
)  # fmt: skip
def test_what_is_exact_is_taken(content, pixels):
    assert np.array_equal(rgb(content), pixels if pixels.ndim == 3 else np.dstack([pixels] * 3))
    if pixels.ndim == 2:
        assert np.array_equal(pixels_of(content, GREY)[0][0], pixels)


def clear(shape: tuple[int, ...]) -> np.ndarray:
    alpha = OPAQUE.copy()
    alpha[2, 3] = 254
    return np.dstack([RGB[:, :, : shape[0]], alpha])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (enc(clear((3,))), "mode RGBA and pixels that are transparent"),
        (enc(Image.fromarray(clear((1,)), "LA")), "mode LA and pixels that are transparent"),
        (enc(RGB, transparency=tuple(map(int, RGB[1, 1]))), "mode RGB and pixels that are transparent"),
        (enc(Image.fromarray(RGB).quantize(200), transparency=b"\0" * 200), "mode P and pixels that are transparent"),
        (enc(ONE.astype(np.uint16) * 257, transparency=int(ONE[0, 0]) * 257), "pixels that are transparent"),
        (enc(ONE.astype(np.uint16) * 256), "16 bits, with values .* multiples of 257"),
        (enc(ONE.astype(np.uint16)), "16 bits, with values"),
        (deep_png(2, RGB.astype(np.uint16) * 257), "mode RGB with values from 0 to 65535"),
        (deep_png(4, np.dstack([ONE, OPAQUE]).astype(np.uint16) * 257), "values from 0 to 65535"),
        (deep_png(6, np.dstack([RGB, OPAQUE]).astype(np.uint16) * 257), "values from 0 to 65535"),
        (b"P6 5 6 65535\n" + RGB.astype(">u2").tobytes(), "mode RGB with values from 0 to 65535"),
        (b"P5 5 6 4095\n" + ONE.astype(">u2").tobytes(), "values from 0 to 4095"),
        (enc(RGB, "SGI", bpc=2), "mode RGB with values from 0 to 65535"),
        (enc(ONE.astype(np.float32), "TIFF"), "floating-point"),
        (enc(ONE.astype(np.int32), "TIFF"), "signed"),
        (enc(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "CMYK"),
        (enc(Image.fromarray(RGB).convert("LAB"), "TIFF"), "LAB"),
    ],
)
def test_what_would_lose_something_is_refused(content, words):
    with pytest.raises(ValueError, match=f"{words}.*; (scale and )?save it"):
        pixels_of(content, COLOUR)


def test_a_tif_of_16_bits_a_colour_is_refused():
    short = enc(RGB, "TIFF")
    at = short.find(struct.pack("<HHI", 258, 3, 3))  # BitsPerSample: three shorts, elsewhere
    depths = struct.unpack_from("<I", short, at + 8)[0]
    deep = short[:depths] + struct.pack("<3H", 16, 16, 16) + short[depths + 6 :] + bytes(200)
    with pytest.raises(ValueError, match="mode RGB with values from 0 to 65535"):
        pixels_of(deep, COLOUR)


@pytest.mark.parametrize(
    ("kind", "options", "further"),
    [
        ("GIF", {"save_all": True}, 2),
        ("TIFF", {"save_all": True}, 2),
        ("PNG", {"save_all": True}, 2),
        ("WEBP", {"save_all": True, "lossless": True}, 2),
        ("MPO", {"save_all": True}, 0),  # the preview or the second view of one shot
    ],
)
def test_of_several_frames_the_first_is_taken_and_the_others_counted(kind, options, further):
    first, *others = (Image.fromarray(np.full((6, 5, 3), v, np.uint8)) for v in (10, 200, 90))
    pixels, count = pixels_of(enc(first, kind, append_images=others, **options), COLOUR)
    assert count == further
    assert abs(pixels.astype(int) - 10).max() <= 2


def test_programs_are_not_started_for_an_image():
    with pytest.raises(OSError, match="cannot identify"):
        pixels_of(enc(RGB, "EPS"), COLOUR)
    assert not {".eps", ".ps", ".mpg", ".h5", ".pdf"} & SUFFIXES
    assert {".jfif", ".jpe", ".gif", ".ico", ".jp2", ".pnm", ".apng", ".tga", ".mpo", ".dib"} <= SUFFIXES
