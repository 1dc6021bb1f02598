"""Ten thousand damaged inputs for every parser: `make fuzz`.

Each parser runs in a process of its own that may take 1 GB more address space than it has when it begins, so that a
file which asks for terabytes is a crash and not a burden. One case may take 10 s of a processor, all of a parser's two
hours. The damaged files are written to memory where the system has a folder for that: a disk takes longer than the
parsers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tests.fuzz.hammer import Result, hammer
from tests.fuzz.parsers import PARSERS

CASES, SPARE_BYTES, SECONDS = 10_000, 1 << 30, 7200
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
MEMORY = Path("/dev/shm")  # noqa: S108


def child(name: str, cases: int) -> None:
    """Prints one parser's result as JSON."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        parser = PARSERS[name](Path(folder))
        parser.read(parser.good)  # loads what it needs before the limit is set
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        print(json.dumps(asdict(hammer(name, cases, Path(folder)))))


def run(cases: int, name: str) -> dict[str, Any]:
    """A parser's result, whatever becomes of its process."""
    command = [sys.executable, "-m", "benchmarks.fuzz", "--one", name, "--cases", str(cases)]
    try:
        done = subprocess.run(
            command, env=os.environ | ONE_THREAD, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        crash = f"not done after {SECONDS} s"
    except json.JSONDecodeError:
        crash = f"its process ended with {done.returncode}: {done.stderr[-300:]}"  # pyright: ignore[reportPossiblyUnboundVariable]
    return asdict(Result(name, 0, 0, 0.0, 0.0, 0.0, [crash]))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=CASES)
    arguments.add_argument("--one", choices=PARSERS, help=argparse.SUPPRESS)
    arguments.add_argument("--only", choices=PARSERS, action="append", help="these parsers; repeatable")
    arguments.add_argument("--jobs", type=int, default=os.cpu_count(), help="parsers side by side (all cores)")
    chosen = arguments.parse_args()
    if min(chosen.cases, chosen.jobs) < 1:
        arguments.error("--cases and --jobs must be at least 1")
    if chosen.one:
        child(chosen.one, chosen.cases)
        return 0
    print(
        f"python -m benchmarks.fuzz --cases {chosen.cases} --jobs {chosen.jobs}, seed 0, {os.cpu_count()} cores, load "
        f"average {os.getloadavg()[0]:.1f}\n\n"
        "| parser | different inputs | taken for good | processor | slowest | peak memory | crashes |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    crashes: list[str] = []
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for found in pool.map(partial(run, chosen.cases), chosen.only or PARSERS):
            crashes += [f"{found['parser']}: {crash}" for crash in found["crashes"]]
            numbers = (
                f"{found['cases']:,} | {found['accepted']:,} | {found['seconds']:.0f} s | {found['slowest']:.2f} s"
            )
            print(
                f"| {found['parser']} | {numbers} | +{found['megabytes']:.0f} MB | {len(found['crashes'])} |",
                flush=True,
            )
    print("\n".join(crashes))
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
