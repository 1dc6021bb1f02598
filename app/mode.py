"""Where the app runs: on one's own machine, or as a demo open to strangers; and the limits that follow.

Usage::

    limits = mode.current()
    if limits.load_models: ...                      # a part of a page that only a machine's owner may use
    if problem := limits.upload_problem(size, width, height, earlier): st.warning(problem)

Read from the environment on every call, so that nothing has to be passed around; the value is frozen. Anything but
`local` in DUAL_BN_MODE gets the demo's limits: a misspelt word must not open what should be closed.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

VARIABLE = "DUAL_BN_MODE"
SECONDS_VARIABLE = "DUAL_BN_JOB_SECONDS"
"""Set this environment variable to end jobs that have computed for longer; it goes before the mode's own limit."""
MB = 1_000_000
# An absolute path up to its last part: at the start, or behind a space, a quote or a bracket.
FOLDERS = re.compile(r"(?:(?<=[\s'\"(\[`])|^)(?:/[^\s/'\"`]+)+/(?=[^\s/])")


@dataclass(frozen=True, slots=True)
class Limits:
    """What this server allows. job_seconds: computing time of one job, waiting not counted; infinite without a limit.

    load_models: networks from outside `checkpoints/`, train: training, paths: showing or taking paths of the server.
    An upload has at most `upload_bytes` bytes and `upload_pixels` pixels, and a session at most `uploads_a_minute`.
    result_bytes: memory, roughly, for results that are kept for the next visitor.
    """

    name: Literal["local", "demo"]
    train: bool
    load_models: bool
    paths: bool
    job_seconds: float
    upload_bytes: int
    upload_pixels: int
    uploads_a_minute: int
    result_bytes: int

    def upload_problem(self, size: int, width: int, height: int, earlier: Sequence[float], now: float) -> str:
        """Why an upload is refused, in one sentence; empty where it is not.

        size: bytes; width, height: pixels, as the file's header says, before anything is decoded; earlier: times in
        seconds of this session's uploads, on the same clock as `now`.
        """
        if size > self.upload_bytes:
            return (
                f"This file has {size / MB:.1f} MB and {self.upload_bytes / MB:g} MB is the limit; take a smaller one."
            )
        if width * height > self.upload_pixels:
            most = f"{self.upload_pixels / MB:g} million"
            return f"This picture has {width} x {height} pixels and {most} is the limit; take a smaller one."
        recent = [then for then in earlier if now - then < 60]
        if len(recent) >= self.uploads_a_minute:
            wait = math.ceil(60 - (now - min(recent)))
            return f"That is {self.uploads_a_minute} pictures within a minute, the limit; try again in {wait} s."
        return ""

    def plain(self, text: str) -> str:
        """A message as a visitor may see it: in demo mode a path of the server is cut down to its last part."""
        return text if self.paths else FOLDERS.sub("", text)

    def sentences(self) -> list[str]:
        """The limits in force, for the page that states them."""
        limit = "" if math.isinf(self.job_seconds) else f" Each may take {self.job_seconds:g} s of computing."
        said = [
            f"One computation runs at a time; long ones let short ones through.{limit}",
            f"A picture of your own: at most {self.upload_bytes / MB:g} MB and {self.upload_pixels / MB:g} million "
            f"pixels, {self.uploads_a_minute} a minute; it stays in the memory of your visit, never on disk.",
            f"Up to {self.result_bytes / MB:g} MB of computed results are kept for whoever asks next.",
        ]
        if not self.load_models:
            said.append("Only the networks in the list above: none is loaded from elsewhere, none is trained here.")
        return said


LOCAL = Limits(
    "local", train=True, load_models=True, paths=True, job_seconds=math.inf, upload_bytes=5 * MB,
    upload_pixels=25 * MB, uploads_a_minute=60, result_bytes=1000 * MB,
)  # fmt: skip
DEMO = Limits(
    "demo", train=False, load_models=False, paths=False, job_seconds=120.0, upload_bytes=5 * MB,
    upload_pixels=4 * MB, uploads_a_minute=10, result_bytes=300 * MB,
)  # fmt: skip


def current() -> Limits:
    """The limits in force."""
    return _limits(os.environ.get(VARIABLE, ""), os.environ.get(SECONDS_VARIABLE, ""))


@cache
def _limits(name: str, seconds: str) -> Limits:
    limits = LOCAL if name.strip().lower() in ("", "local") else DEMO
    try:
        chosen = float(seconds)
    except ValueError:  # not set, or not a number: the mode's own limit
        return limits
    return replace(limits, job_seconds=chosen) if chosen > 0 else limits
