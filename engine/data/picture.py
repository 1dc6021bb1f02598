"""One picture that a person brought: bytes of PNG, JPEG or WebP in, a square at a network's size out.

Usage::

    picture = open_picture(data)                             # upright, on white, in sRGB
    image = at_size(picture, Crop(zoom=2), side=32)          # float32 (3, 32, 32) in [0, 1]

Nothing is written anywhere and nothing of Pillow's is set: the size is read from the header before anything is decoded,
and decoders are called by name, so that no other format is ever tried.
"""

from __future__ import annotations

import io
import math
import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from engine.values import InputError

MAX_BYTES, MAX_PIXELS, WORKING_PIXELS, MAX_SCANS = 5 * 2**20, 25_000_000, 4_000_000, 50
"""Of a file; of a picture, by its header; of what is kept of it; passes of a JPEG, each of which costs time."""
MAX_ZOOM = 8.0
AGAIN = "save it as PNG, JPEG or WebP and try again"
Kind = tuple[str, type[ImageFile.ImageFile]]
PNG: Kind = ("PNG", PngImagePlugin.PngImageFile)
JPEG: Kind = ("JPEG", JpegImagePlugin.JpegImageFile)
WEBP: Kind = ("WebP", WebPImagePlugin.WebPImageFile)
OTHERS = (
    (0, b"GIF8", "a GIF"), (0, b"BM", "a BMP picture"), (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"), (4, b"ftyphe", "a HEIC picture"), (4, b"ftypmif", "a HEIC picture"),
    (4, b"ftypavi", "an AVIF picture"), (4, b"ftyp", "a video"), (0, b"%PDF", "a PDF"),
    (0, b"PK\3\4", "a ZIP archive or an office document"), (0, b"8BPS", "a Photoshop file"),
)  # fmt: skip
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what brings the picture upright; 1 is upright."""
ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """pixels: uint8 (h, w, 3), sRGB, at most WORKING_PIXELS; notes: one sentence for each thing that was done to it."""

    pixels: npt.NDArray[np.uint8]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Crop:
    """The largest square divided by `zoom` (1 to MAX_ZOOM), placed from left (0) to right (1) and top to bottom."""

    zoom: float = 1.0
    across: float = 0.5
    down: float = 0.5

    def __post_init__(self) -> None:
        inside = 1 <= self.zoom <= MAX_ZOOM and 0 <= self.across <= 1 and 0 <= self.down <= 1
        if not inside:
            raise InputError(f"A crop has a zoom from 1 to {MAX_ZOOM:g} and a place from 0 to 1 in both directions.")

    def box(self, height: int, width: int) -> tuple[float, float, float]:
        """(top, left, side) in pixels of a picture of that size; need not be whole numbers."""
        side = min(height, width) / self.zoom
        return self.down * (height - side), self.across * (width - side), side


def open_picture(data: bytes, most_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in a file's bytes: upright, on white where it is transparent, in sRGB.

    Large ones are made smaller by a whole factor, mean over blocks. InputError where the bytes are no PNG, JPEG or
    WebP, more than MAX_BYTES, or a picture of more than `most_pixels`.
    """
    if not data:
        raise InputError("The file is empty; choose another one.")
    if len(data) > MAX_BYTES:
        raise InputError(f"The file has more than {MAX_BYTES >> 20} MB; make the picture smaller and try again.")
    kind = _kind(data)
    width, height = _size(data, kind)
    if width * height > most_pixels:
        raise InputError(
            f"The picture has {width:,} × {height:,} pixels, and {most_pixels // 10**6} million are the limit; make it "
            "smaller and try again."
        )
    if kind is JPEG and data.count(b"\xff\xda") > MAX_SCANS:
        raise InputError(f"The JPEG is stored in over {MAX_SCANS} passes, which takes too long; {AGAIN}.")
    try:
        return _decoded(data, kind, (width, height))
    except Exception:  # noqa: BLE001  # what decoders raise at damaged bytes is anything: OSError, struct.error, KeyError ...
        raise InputError(f"The {kind[0]} is cut off or damaged; {AGAIN}.") from None


def _kind(data: bytes) -> Kind:
    """By the bytes; a file's name says nothing. InputError names what it is instead."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WEBP
    what = next((name for at, start, name in OTHERS if data.startswith(start, at)), None) or _text(data[:4096])
    raise InputError(
        f"This is {what}, not a PNG, JPEG or WebP picture, whatever its name says; "
        + ("copy or save the picture itself and try again." if "address" in what else f"{AGAIN}.")
    )


def _text(start: bytes) -> str:
    """What bytes that are no known format are."""
    try:
        text = start.decode("utf-8").strip()
    except UnicodeDecodeError:
        return "something else"
    if re.match(r"(https?|ftp|data|file):|www\.", text, re.IGNORECASE):
        return "a web address"
    if "<svg" in text:
        return "an SVG drawing"
    return "text" if text.isprintable() or "\n" in text else "something else"


def _size(data: bytes, kind: Kind) -> tuple[int, int]:
    """(width, height) as the header gives it, with nothing decoded and no room made for the picture."""
    try:
        if kind is PNG:
            width, height = struct.unpack(">II", data[16:24])
        elif kind is JPEG:
            width, height = JpegImagePlugin.JpegImageFile(io.BytesIO(data)).size
        else:
            width, height = _webp_size(data)
    except Exception:  # noqa: BLE001  # see open_picture
        width = height = 0
    if not width * height:
        raise InputError(f"The {kind[0]} is cut off or damaged; {AGAIN}.")
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    """Of the whole canvas; Pillow's decoder makes room for it as soon as it sees the header."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _decoded(data: bytes, kind: Kind, size: tuple[int, int]) -> Picture:
    image = kind[1](io.BytesIO(data))
    if image.size != size:
        raise ValueError("A second header, of another size than the one that was checked.")
    notes = ["It is animated; only its first picture is used."] * (getattr(image, "n_frames", 1) > 1)
    image.load()
    profile, turn = image.info.get("icc_profile"), TURNS.get(image.getexif().get(ORIENTATION, 1))
    plain = _plain(image)
    factor = math.ceil(math.sqrt(plain.width * plain.height / WORKING_PIXELS))
    if factor > 1:
        plain = plain.reduce(factor)
    if turn is not None:
        plain = plain.transpose(turn)
        notes.append("It is turned upright, as its camera noted.")
    if plain.mode == "RGBA":
        white = Image.new("RGBA", plain.size, "white")
        if plain.getchannel("A").getextrema() != (255, 255):
            notes.append("Where it is transparent, white shows through.")
        plain = Image.alpha_composite(white, plain).convert("RGB")
    if plain.mode == "CMYK":
        notes.append("Its printing colours (CMYK) are turned into screen colours, which are not quite the same.")
    made, note = _srgb(plain, profile)
    return Picture(np.array(made), tuple(notes + note))


def _plain(image: Image.Image) -> Image.Image:
    """The same in RGB, RGBA, CMYK or L, with 8 bits."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("RGB", "CMYK", "L") else image.convert("L" if image.mode == "1" else "RGB")


def _srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, list[str]]:
    """RGB by the file's colour profile, if it has one."""
    if not profile:
        return image.convert("RGB"), []
    try:
        known: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        source = image.convert("RGB") if known.profile.xcolor_space.strip() == "RGB" else image
        made = ImageCms.profileToProfile(source, known, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception:  # noqa: BLE001  # see open_picture; the picture is sound without its profile
        made = None
    if made is None:
        return image.convert("RGB"), ["Its colour profile cannot be used, so colours may be a little off."]
    return made, []


def at_size(picture: Picture, crop: Crop, side: int) -> npt.NDArray[np.float32]:
    """The crop as float32 (3, side, side) in [0, 1]: each value is the mean over the area that its pixel covers."""
    top, left, length = crop.box(*picture.pixels.shape[:2])
    rows, columns = (slice(int(start), math.ceil(start + length)) for start in (top, left))
    window = picture.pixels[rows, columns]
    down = _overlaps(top - rows.start, length, window.shape[0], side)
    across = _overlaps(left - columns.start, length, window.shape[1], side)
    channels = [down @ window[..., channel].astype(np.float64) @ across.T for channel in range(3)]
    return np.clip(np.stack(channels) / 255, 0, 1).astype(np.float32)


def _overlaps(start: float, length: float, n_in: int, n_out: int) -> npt.NDArray[np.float64]:
    """(n_out, n_in): the share of output cell i, of [start, start + length) cut in n_out, that lies in input cell j."""
    edges = start + length * np.arange(n_out + 1) / n_out
    cells = np.arange(n_in)
    shared = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    shared = np.clip(shared, 0, None)
    return shared / shared.sum(axis=1, keepdims=True)
