"""Files as an accident or an adversary would leave them: a good one damaged.

Hypothesis draws a seed for each case and the damage follows from it, which is a hundred times faster than drawing every
part; it sees only the seeds, because it keeps what it drew. Cases are not shrunk, they are short already.
"""

from __future__ import annotations

import copy
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import numpy as np

WORDS = ("", "clean", "adv", "pgd", "auto", "stored", "Linf", "single", "dual-bn", "shapes", "../..", "\0", "é" * 300)
NUMBERS = (
    0,
    -1,
    1,
    2,
    255,
    2**31,
    2**63,
    -(2**63) - 1,
    10**30,
    10**400,
    0.5,
    -0.0,
    1e308,
    math.inf,
    -math.inf,
    math.nan,
)
DEEP = (b"[" * 100_000, b'{"a":' * 100_000, b"a = " + b"[" * 100_000, ".".join("x" * 5000).encode() + b" = 1")
"""Nested more deeply than Python's stack."""

Damage = Callable[[Random], Any]


def cases(*kinds: Damage) -> Callable[[int], Any]:
    """Seed -> a case of one of these kinds, equally often."""

    def make(number: int) -> Any:
        random = Random(number)  # noqa: S311
        return random.choice(kinds)(random)

    return make


def value(random: Random, depth: int = 3) -> Any:
    """Any JSON value."""
    kind = random.randrange(9 if depth else 7)
    match kind:
        case 0:
            return random.choice((None, True, False))
        case 1 | 2:
            return random.choice(NUMBERS)
        case 3 | 4:
            return random.choice(WORDS)
        case 5:
            return random.randint(-20, 300)
        case 6:
            return "".join(chr(random.choice((random.randrange(32, 127), random.randrange(0xD7FF)))) for _ in range(5))
        case 7:
            return [value(random, depth - 1) for _ in range(random.randrange(4))]
        case _:
            return {value(random, 0).__str__(): value(random, depth - 1) for _ in range(random.randrange(4))}


def of_bytes(good: bytes, packed: Callable[[bytes], bytes] = bytes) -> tuple[Damage, ...]:
    """The file with up to four places overwritten, cut out, doubled or cut short; or something else altogether.

    packed: makes the file of such bytes, where they are only its content.
    """

    def edited(random: Random) -> bytes:
        return packed(bytes(edit(bytearray(good), random)))

    def other(random: Random) -> bytes:
        return packed(random.choice(DEEP) if random.random() < 0.1 else random.randbytes(random.randrange(64)))

    return edited, edited, edited, other


def edit(data: bytearray, random: Random) -> bytearray:
    """Damages one to four places of it."""
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(data)) if random.random() < 0.5 else random.randint(0, min(300, len(data)))
        new = random.randbytes(random.randint(1, 8)) if random.random() < 0.5 else b"\xff\xff\xff\xff"
        kind = random.randrange(8)
        if kind < 3:
            data[at : at + len(new)] = new
        elif kind < 5:
            del data[at : at + len(new) ** 2]
        elif kind < 7:
            data[at:at] = data[at : at + 64]
        else:
            del data[at:]
    return data


def of_tree(good: Any, packed: Callable[[Any], Any] = lambda tree: tree) -> Damage:
    """The JSON value with one to four of its parts replaced, left out or given another name."""
    paths = [path for path in _paths(good) if path]

    def edited(random: Random) -> Any:
        if random.random() < 0.05:
            return packed(value(random))
        tree = copy.deepcopy(good)
        for _ in range(random.randint(1, 4)):
            _edit(tree, random.choice(paths), random)
        return packed(tree)

    return edited


def of_json(good: Any) -> tuple[Damage, ...]:
    """The JSON text, damaged in its structure or byte by byte."""
    tree = of_tree(good, as_text)
    return tree, tree, tree, tree, *of_bytes(as_text(good))


def as_text(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def _paths(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in inside:
        yield from _paths(part, (*at, key))


def _edit(tree: Any, path: tuple[Any, ...], random: Random) -> None:
    """Does nothing where an earlier edit took the place away."""
    try:
        for key in path[:-1]:
            tree = tree[key]
        kind = random.randrange(6)
        if kind < 4:
            tree[path[-1]] = value(random)
        elif kind == 4:
            del tree[path[-1]]
        elif isinstance(tree, dict):
            tree[str(value(random, 0))] = tree.pop(path[-1])
    except (KeyError, IndexError, TypeError):
        return


TYPES = ("<f4", "<f8", "|i1", "<i8", "|u1", "|b1", "<U3", "<c8", "<M8[s]", "|S2")


def of_arrays(good: dict[str, np.ndarray]) -> tuple[Damage, ...]:
    """An .npz with arrays left out, renamed, of another shape or type, holding objects, or with its bytes damaged."""

    def edited(random: Random) -> bytes:
        arrays: dict[str, Any] = dict(good)
        for name in random.choices(sorted(good), k=random.randint(1, 3)):
            taken, kind = arrays.pop(name, None), random.randrange(8)
            if kind < 5:
                shape = [random.randrange(4) for _ in range(random.randrange(5))]
                arrays[name] = np.zeros(shape, random.choice(TYPES))
            elif kind == 5 and taken is not None:
                arrays[f"{name}2"] = taken
            elif kind == 6:
                arrays[name] = np.array([{"a": 1}, None], dtype=object)
        return zipped(arrays)

    def bombs(random: Random) -> bytes:
        return bomb(sorted(good)[0]) if random.random() < 0.01 else claim(random.choice(sorted(good)), random)

    return edited, edited, *of_bytes(zipped(good)), bombs


def zipped(arrays: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def claim(name: str, random: Random) -> bytes:
    """An array whose header promises up to a million times a million numbers, and nothing behind it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive, archive.open(f"{name}.npy", "w") as member:
        shape = (10 ** random.randrange(13), random.choice((1, 0, 7)))
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return content.getvalue()


@cache
def bomb(name: str, n: int = 2_000_000_000) -> bytes:
    """A few megabytes that unpack to 2 GB of zeros."""
    content = io.BytesIO()
    archive = zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open(f"{name}.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (n,)})
        for _ in range(n // 4_000_000):
            member.write(bytes(4_000_000))
    return content.getvalue()
