"""A picture of a visitor's own, at its worst: memory and time stay bounded, damaged bytes are refused like others."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from PIL import Image

from engine.data.picture import MAX_PIXELS, Crop, at_size, open_picture
from engine.values import InputError
from tests.data.test_picture import REFUSED, encoded, noise, png

ROOT = Path(__file__).parents[2]


def test_memory_is_bounded_in_the_worst_case_and_nothing_is_left_behind(tmp_path: Path) -> None:
    """The largest transparent picture that is allowed, from under 200 KB, and larger ones that are not."""
    code = """
        import base64, json, os, resource, sys, time
        from engine.data.picture import Crop, at_size, open_picture
        from engine.values import InputError
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        *refused, largest = [base64.b64decode(line) for line in sys.stdin.buffer]
        before = peak()
        for data in refused:
            try:
                open_picture(data)
                raise AssertionError(data[:40])
            except InputError:
                pass
        small = peak() - before
        started = time.monotonic()
        at_size(open_picture(largest), Crop(), 32)
        json.dump([small, peak() - before, time.monotonic() - started, os.listdir()], sys.stderr)
    """
    side = int(MAX_PIXELS**0.5)
    largest = png(side, side, colour=6, rows=bytes(side * (4 * side + 1)))
    assert len(largest) < 200_000
    given = b"\n".join(base64.b64encode(data) for data in (*(data for data, _ in REFUSED.values()), largest))
    environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-B", "-c", dedent(code)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, input=given, capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    small, worst, seconds, files = json.loads(done.stderr)
    assert small < 40  # MB above the interpreter's: 100 megapixels and 100 MB of text are never unpacked
    assert worst < 10 * MAX_PIXELS / 2**20  # RGBA takes 4 bytes a pixel, making it smaller as many
    assert seconds < 30
    assert files == []


SEEDS = {
    "png": encoded(noise(37, 51)),
    "palette": encoded(Image.fromarray(noise(37, 51)).quantize(16)),
    "jpeg": encoded(noise(37, 51), "JPEG"),
    "progressive": encoded(noise(37, 51), "JPEG", progressive=True),
    "webp": encoded(noise(37, 51), "WEBP"),
    "apng": encoded(noise(9, 9), save_all=True, append_images=[Image.fromarray(noise(9, 9, seed=1))]),
}


@pytest.mark.filterwarnings("ignore")  # what Pillow says of damaged files; they are refused or used either way
@pytest.mark.parametrize("name", SEEDS)
def test_mutated_files_are_used_or_refused_and_nothing_else(name: str) -> None:
    rng, whole = np.random.default_rng(0), SEEDS[name]
    outcomes: set[bool] = set()
    for number in range(150):
        data = bytearray(whole[: rng.integers(1, len(whole))] if number % 5 == 0 else whole)
        for _ in range(rng.integers(1, 6)):  # half of them in the header
            data[rng.integers(min(len(data), 60) if number % 2 else len(data))] = rng.integers(256)
        try:
            image = at_size(open_picture(bytes(data)), Crop(), 32)
            assert image.shape == (3, 32, 32)
            outcomes.add(True)
        except InputError:
            outcomes.add(False)
    assert outcomes == {True, False}
