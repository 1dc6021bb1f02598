"""Small pictures of every kind that a visitor may bring, and damage that reaches what lies behind their checksums."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tests.fuzz.damage import Damage, edit, of_bytes

SIDES = (24, 20)
PNG_START = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">IIBBBBB")


def good_pictures() -> list[bytes]:
    """PNG of all colour kinds, JPEG in one pass and in many, WebP with and without loss, and moving ones."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDES[1], SIDES[0], 4), dtype=np.uint8)
    clear, screen = Image.fromarray(pixels), Image.fromarray(pixels[..., :3])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    return [
        _saved(clear, "PNG", icc_profile=profile),
        _saved(screen.quantize(16), "PNG", transparency=3),
        _saved(deep, "PNG"),
        _saved(screen.convert("1"), "PNG"),
        _saved(screen, "PNG", save_all=True, append_images=[screen.rotate(90)], exif=turned),
        _saved(screen, "JPEG", exif=turned, icc_profile=profile),
        _saved(screen, "JPEG", progressive=True, subsampling=2),
        _saved(screen.convert("CMYK"), "JPEG"),
        _saved(screen.convert("L"), "JPEG", restart_marker_blocks=1),
        _saved(screen, "WEBP", exif=turned, icc_profile=profile),
        _saved(clear, "WEBP"),
        _saved(clear, "WEBP", lossless=True),
        _saved(clear, "WEBP", save_all=True, append_images=[clear.rotate(90)]),
    ]


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def of_pictures(good: list[bytes]) -> tuple[Damage, ...]:
    """Every picture as often as any other, a PNG half of the time with sums that fit its damage."""
    pngs = [of_chunks(one) for one in good if one.startswith(PNG_START)]
    return *pngs, *pngs, *(damage for one in good for damage in of_bytes(one))


def of_chunks(good: bytes) -> Damage:
    """A PNG with parts damaged, doubled or left out, and sums that are right again."""
    parts = list(_chunks(good))

    def edited(random: Random) -> bytes:
        made = list(parts)
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(made))
            name, body = made[at]
            match random.randrange(8):
                case 0:
                    made.insert(random.randrange(len(made)), (name, body))
                case 1:
                    del made[at]
                case 2 | 3 if name == b"IHDR":
                    made[at] = name, _header(body, random)
                case 2 | 3 | 4 if name == b"IDAT" and (name, body) in parts:
                    made[at] = name, zlib.compress(bytes(edit(bytearray(zlib.decompress(body)), random)))
                case _:
                    made[at] = name, bytes(edit(bytearray(body), random))
            made = made or parts
        return PNG_START + b"".join(_chunk(name, body) for name, body in made)

    return edited


def _header(body: bytes, random: Random) -> bytes:
    """With one of its numbers another, which may be a large picture that is allowed."""
    if len(body) != HEADER.size:
        return body
    fields = list(HEADER.unpack(body))
    at = random.randrange(len(fields))
    fields[at] = random.choice((0, 1, 5000, 65535, 2**31 - 1)) if at < 2 else random.choice((0, 1, 2, 3, 4, 6, 16, 255))
    return HEADER.pack(*fields)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(PNG_START)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += size + 12


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
