"""A picture of a visitor's own: what is accepted, what is done to it, and one sentence for all the rest."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from engine.data.picture import MAX_BYTES, WORKING_PIXELS, Crop, Picture, at_size, open_picture
from engine.values import InputError

Bytes = npt.NDArray[np.uint8]


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(image: Image.Image | Bytes, kind: str = "PNG", **options: Any) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int, height: int, *, bits: int = 8, colour: int = 0, rows: bytes = b"", first: bytes = b"", then: bytes = b""
) -> bytes:
    """A PNG written by hand, so that header and content can disagree."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    content = header + then + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + first + content


def webp(width: int, height: int) -> bytes:
    """A WebP that announces a canvas; hardly anything follows."""
    canvas = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + b"VP8L" + struct.pack("<I", 5) + b"\x2f\0\0\0\0" + b"\0"
    return b"RIFF" + struct.pack("<I", len(body)) + body


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        open_picture(data)
    return str(caught.value)


STILL = encoded(noise(20, 30))
SMALL = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
TEN_THOUSAND = "10,000 × 10,000 pixels"
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "The file is empty"),
    "text named .png": (b"I am a PNG, honest.\nReally.", "This is text, not a PNG, JPEG or WebP"),
    "pasted URL": (b"https://example.org/cat.png", "This is a web address"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "an SVG drawing"),
    "GIF": (encoded(noise(8, 8), "GIF"), "This is a GIF"),
    "animated GIF": (encoded(Image.new("L", (8, 8)), "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 9)]),
                     "This is a GIF"),
    "BMP": (encoded(noise(8, 8), "BMP"), "a BMP picture"),
    "TIFF": (encoded(noise(8, 8), "TIFF"), "a TIFF picture"),
    "PDF": (b"%PDF-1.7 ...", "This is a PDF"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture"),
    "ZIP": (b"PK\3\4" + bytes(100), "a ZIP archive"),
    "random bytes": (bytes(range(128, 256)), "This is something else"),
    "too many bytes": (STILL + bytes(MAX_BYTES), "more than 5 MB"),
    "truncated PNG": (STILL[: len(STILL) // 2], "The PNG is cut off or damaged"),
    "truncated JPEG": (encoded(noise(99, 99), "JPEG")[:2000], "The JPEG is cut off or damaged"),
    "truncated WebP": (encoded(noise(99, 99), "WEBP")[:900], "The WebP is cut off or damaged"),
    "PNG signature alone": (STILL[:8], "The PNG is cut off or damaged"),
    "JPEG signature alone": (b"\xff\xd8\xff", "The JPEG is cut off or damaged"),
    "WebP signature alone": (b"RIFF\0\0\0\0WEBP", "The WebP is cut off or damaged"),
    "no pixels": (png(0, 8), "The PNG is cut off or damaged"),
    "100 megapixels, PNG": (png(10_000, 10_000), TEN_THOUSAND),
    "100 megapixels, JPEG": (encoded(Image.new("L", (10_000, 10_000)), "JPEG"), TEN_THOUSAND),
    "100 megapixels, WebP": (webp(10_000, 10_000), TEN_THOUSAND),
    "4 gigapixels": (png(2**31 - 1, 2), "2,147,483,647 × 2 pixels"),
    "a small header before a large one": (png(6000, 6000, rows=bytes(6000 * 6001), first=SMALL), "damaged"),
    "another chunk before the header": (
        png(6000, 6000, rows=bytes(6000 * 6001), first=chunk(b"tEXt", b"\0\0\0\x08\0\0\0\x08")), "damaged"),
    "a text that unpacks to 100 MB": (
        png(8, 8, then=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "The PNG is cut off or damaged"),
    "a JPEG of 60 passes": (
        encoded(noise(64, 64), "JPEG", progressive=True) + b"\xff\xda" * 60, "stored in over 50 passes"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_usable_picture_is_refused_in_one_sentence(data: bytes, said: str) -> None:
    sentence = refusal(data)
    assert said in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 160


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_pixels_come_through_unchanged() -> None:
    pixels = noise(20, 30)
    every: tuple[dict[str, Any], ...] = ({}, {"icc_profile": srgb_profile()})
    for options in every:
        picture = open_picture(encoded(pixels, **options))
        assert np.abs(picture.pixels.astype(int) - pixels).max() <= bool(options)  # sRGB to sRGB rounds
        assert picture.notes == ()
    np.testing.assert_array_equal(open_picture(encoded(pixels, "WEBP", lossless=True)).pixels, pixels)
    np.testing.assert_array_equal(open_picture(encoded(Image.fromarray(pixels).quantize(256))).pixels,
                                  np.asarray(Image.fromarray(pixels).quantize(256).convert("RGB")))  # fmt: skip
    grey = noise(20, 30, 1)
    np.testing.assert_array_equal(open_picture(encoded(grey)).pixels, grey.repeat(3, 2))
    black = Image.fromarray(grey.squeeze() > 127)
    np.testing.assert_array_equal(open_picture(encoded(black)).pixels[..., 0], np.where(grey[..., 0] > 127, 255, 0))


def test_sixteen_bits_become_eight() -> None:
    values = np.array([[0, 257, 65535, 32896]], np.uint16)
    picture = open_picture(encoded(Image.fromarray(values)))
    assert picture.pixels[0, :, 0].tolist() == [0, 1, 255, 128]
    rows = b"\0" + b"".join(struct.pack(">HHH", 257 * v, 65535, 0) for v in (0, 7, 200))
    assert open_picture(png(3, 1, bits=16, colour=2, rows=rows)).pixels[0].tolist() == [
        [0, 255, 0], [7, 255, 0], [200, 255, 0],
    ]  # fmt: skip


def test_transparency_shows_white_and_is_said() -> None:
    rgba = noise(8, 8, 4)
    picture = open_picture(encoded(rgba))
    alpha = rgba[..., 3:] / 255
    np.testing.assert_allclose(picture.pixels, rgba[..., :3] * alpha + 255 * (1 - alpha), atol=1)
    assert picture.notes == ("Where it is transparent, white shows through.",)
    rgba[..., 3] = 255
    assert open_picture(encoded(rgba)).notes == ()
    indexed = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    indexed.putpalette([10, 20, 30, 40, 50, 60])
    picture = open_picture(encoded(indexed, transparency=0))
    assert picture.pixels.tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_cmyk_is_converted_and_said() -> None:
    picture = open_picture(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    np.testing.assert_allclose(picture.pixels[8, 8], (255, 0, 0), atol=6)
    assert "CMYK" in picture.notes[0]


def test_a_colour_profile_is_applied_and_a_broken_one_is_said() -> None:
    pixels = np.full((4, 4, 3), (200, 100, 50), np.uint8)
    lab = encoded(pixels, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    for data in (lab, encoded(pixels, icc_profile=b"nonsense")):
        picture = open_picture(data)
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert picture.notes == ("Its colour profile cannot be used, so colours may be a little off.",)
    swapped = bytearray(srgb_profile())  # red and blue of the profile change places
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    turned = open_picture(encoded(pixels, icc_profile=bytes(swapped)))
    assert turned.notes == ()
    np.testing.assert_allclose(turned.pixels[0, 0], (50, 100, 200), atol=2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_picture_is_used_and_said(kind: str) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    picture = open_picture(encoded(first, kind, save_all=True, append_images=[second], lossless=True))
    assert picture.pixels[4, 4].tolist() == [255, 0, 0]
    assert picture.notes == ("It is animated; only its first picture is used.",)


UPRIGHT: dict[int, Callable[[Bytes], Bytes]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}
"""By the EXIF standard's words: 6 means that row 0 is the visual right side and column 0 the visual top, and so on."""


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_are_turned_as_their_camera_noted(orientation: int, kind: str) -> None:
    stored = noise(2, 3).repeat(16, 0).repeat(16, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(
        encoded(stored, kind, exif=exif, quality=100, **({"lossless": True} if kind == "WEBP" else {}))
    )
    expected = UPRIGHT[orientation](stored)
    assert picture.pixels.shape == expected.shape
    np.testing.assert_allclose(picture.pixels[8::16, 8::16], expected[8::16, 8::16], atol=25)  # JPEG bleeds colours
    assert (picture.notes == ()) == (orientation == 1)


def test_the_square_is_the_mean_over_blocks() -> None:
    pixels = noise(96, 160)
    image = at_size(Picture(pixels, ()), Crop(), 32)
    middle = pixels[:, 32:128].reshape(32, 3, 32, 3, 3).mean((1, 3)) / 255
    np.testing.assert_allclose(image, middle.transpose(2, 0, 1), atol=1e-6)
    assert image.dtype == np.float32
    corner = at_size(Picture(pixels, ()), Crop(3, 1, 0), 32)
    np.testing.assert_allclose(corner, pixels[:32, 128:].transpose(2, 0, 1) / 255, atol=1e-6)


def test_parts_of_pixels_count_by_their_area() -> None:
    """By brute force: every pixel is split into k by k before blocks of whole pixels are averaged."""
    pixels, side, split = noise(13, 17), 8, 8
    fine = pixels.repeat(split, 0).repeat(split, 1)  # 13 / 8 of a pixel is 13 of these
    expected = fine[:, 2 * split : 15 * split].reshape(side, 13, side, 13, 3).mean((1, 3)) / 255
    np.testing.assert_allclose(at_size(Picture(pixels, ()), Crop(), side), expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (2, 3), (7, 4999)])
def test_tiny_and_long_pictures_still_give_a_square(height: int, width: int) -> None:
    picture = open_picture(encoded(np.full((height, width, 3), (10, 20, 30), np.uint8)))
    for crop in (Crop(), Crop(8, 0, 0), Crop(8, 1, 1), Crop(3.3, 0.123, 0.77)):
        image = at_size(picture, crop, 32)
        np.testing.assert_allclose(image, np.array([10, 20, 30])[:, None, None] / 255 * np.ones((3, 32, 32)), atol=1e-6)


@pytest.mark.parametrize("values", [(0.5, 0, 0), (9, 0, 0), (1, -0.1, 0), (1, 0, 1.1), (float("nan"), 0, 0)])
def test_impossible_crops_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="A crop has"):
        Crop(*values)


def test_large_pictures_are_made_smaller_by_a_whole_factor() -> None:
    pixels = noise(10, 10).repeat(250, 0).repeat(250, 1)
    picture = open_picture(encoded(pixels))
    assert picture.pixels.shape == (1250, 1250, 3)
    assert picture.pixels.shape[0] * picture.pixels.shape[1] <= WORKING_PIXELS
    np.testing.assert_array_equal(picture.pixels[::125, ::125], pixels[::250, ::250])
