"""Ten thousand damaged inputs for every parser: `make fuzz`.

Each parser runs in a process of its own that may take 1 GB more address space than it has when it begins, so that a
file which asks for terabytes is a crash and not a burden. One case may take 10 s, all of a parser's 30 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.fuzz.hammer import hammer
from tests.fuzz.parsers import PARSERS

CASES, SPARE_BYTES, SECONDS = 10_000, 1 << 30, 1800


def child(name: str, cases: int) -> None:
    """Prints one parser's result as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        PARSERS[name](Path(folder))  # loads what it needs before the limit is set
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        print(json.dumps(asdict(hammer(name, cases, Path(folder)))))


def run(name: str, cases: int) -> dict[str, Any]:
    """A parser's result, whatever becomes of its process."""
    command = [sys.executable, "-m", "benchmarks.fuzz", "--one", name, "--cases", str(cases)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        crash = f"not done after {SECONDS} s"
    except json.JSONDecodeError:
        crash = f"its process ended with {done.returncode}: {done.stderr[-300:]}"  # pyright: ignore[reportPossiblyUnboundVariable]
    return {"parser": name, "cases": 0, "accepted": 0, "seconds": 0.0, "megabytes": 0.0, "crashes": [crash]}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=CASES)
    arguments.add_argument("--one", choices=PARSERS, help=argparse.SUPPRESS)
    arguments.add_argument("--only", choices=PARSERS, action="append", help="these parsers; repeatable")
    chosen = arguments.parse_args()
    if chosen.one:
        child(chosen.one, chosen.cases)
        return 0
    print(f"python -m benchmarks.fuzz --cases {chosen.cases}, seed 0, {os.cpu_count()} cores")
    print(
        "| parser | cases | taken for good | seconds | peak memory | crashes |\n| --- | --- | --- | --- | --- | --- |"
    )
    crashes: list[str] = []
    for name in chosen.only or PARSERS:
        result = run(name, chosen.cases)
        crashes += [f"{name}: {crash}" for crash in result["crashes"]]
        numbers = (
            f"{result['cases']:,} | {result['accepted']:,} | {result['seconds']:.0f} | +{result['megabytes']:.0f} MB"
        )
        print(f"| {name} | {numbers} | {len(result['crashes'])} |", flush=True)
    print("\n".join(crashes))
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
