"""A thousand changes of sliders and controls on one real server: does it keep too much, and work for nobody?

    python -m benchmarks.changes                  # `make changes`, on a machine that does nothing else
    python -m benchmarks.changes --changes 60     # whether it works at all

One visitor after another opens a page, changes ten of its controls at random, goes to the next page, and leaves after
fifty. Every fifth change is followed by the next one before its answer is there, as in a drag. No pause lies in
between, so that an hour of changes takes minutes. Memory is read after each hundredth; at the end the processor time
of the server tells how long it goes on computing after the last change, and after a visitor has left in the middle of a
computation. Exit code 1 where a page failed, work went on for more than 2 s, or memory grew by more than 5 % after the
warm-up; without what is kept of results on purpose, which has a bound of its own (app/mode.py) and fills up for longer.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import resident
from tests.browser.server import Server, free_port, serve
from tests.visitor import Visitor, moved

ROOT = Path(__file__).parent.parent
PAGES = ("", "compare", "layers", "attack", "attribution", "paper", "models", "tour")
LONG = "attack=PGD-20&eps=2/255&ns=re-estimated"
A_PAGE, A_VISIT, ABANDONED, A_LINE = 10, 50, 5, 100
MOST_GROWTH, MOST_SECONDS = 0.05, 2.0
WATCHED, WINDOW, BUSY = 8.0, 0.1, 0.2
"""Seconds that the server is watched, in windows of so many; one is busy where it took this share of a core."""


@dataclass(slots=True)
class Crowd:
    """Visitors one after another, drawn from a seed; failures: of all the pages they saw."""

    server: Server
    rng: random.Random
    visitor: Visitor
    failures: list[str]
    number: int = 0

    def change(self) -> None:
        if self.number % A_VISIT == 0:
            self.visitor.close()
            self.visitor = Visitor(self.server.url)
        if self.number % A_PAGE == 0:
            self.visitor.open(self.rng.choice(PAGES))
        self.number += 1
        found = [state for e in self.visitor.elements.values() if (state := moved(e, self.rng)) is not None]
        if found:
            self.visitor.change(self.rng.choice(found))
        if found and self.number % ABANDONED:
            self.visitor.wait()
            self.failures += self.visitor.failures()


def processor_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_for(server: Server) -> float:
    """Seconds from now to the end of the last window in which the server computed."""
    began, last, used = time.monotonic(), 0.0, processor_seconds(server)
    while (now := time.monotonic() - began) < WATCHED:
        time.sleep(WINDOW)
        before, used = used, processor_seconds(server)
        if used - before > BUSY * (time.monotonic() - began - now):
            last = time.monotonic() - began
    return last


def kept(port: int) -> float:
    """Megabytes, as estimated, in both caches of results."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        sizes = re.findall(r"^dual_bn_cache_bytes{.*} (.*)$", answer.read().decode(), re.MULTILINE)
    return sum(float(size) for size in sizes) / 1e6


def abandoned(server: Server) -> float:
    """How long the server computes on for a visitor who left while it did."""
    with Visitor(server.url) as visitor:
        visitor.open("", LONG)
        visitor.press("Compute it now")
        visitor.until("Attacking every stop")
    return busy_for(server)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--warm", type=float, default=0.3, help="share of them that is warm-up")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.changes < 1 or not 0 <= chosen.warm <= 1:
        parser.error("--changes must be at least 1, and --warm a share from 0 to 1")
    port, began = free_port(), time.monotonic()
    print(
        f"{chosen.changes} changes, seed {chosen.seed}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
    )
    variables = {"DUAL_BN_MODE": "demo", "DUAL_BN_METRICS": str(port), "DUAL_BN_STORE": "off"}
    with tempfile.TemporaryDirectory() as folder, serve(ROOT / "app" / "server.py", Path(folder), variables) as server:
        crowd, warm = Crowd(server, random.Random(chosen.seed), Visitor(server.url), []), (0.0, 0.0)
        for number in range(1, chosen.changes + 1):
            crowd.change()
            if number == max(1, round(chosen.warm * chosen.changes)):
                warm = resident(server), kept(port)
            if number % A_LINE == 0:
                said = f"{number} changes in {time.monotonic() - began:.0f} s: {resident(server):.0f} MB"
                print(f"{said}, of which results {kept(port):.0f}", flush=True)
        after_change = busy_for(server)
        end = resident(server), kept(port)
        crowd.visitor.close()
        after_leaving = abandoned(server)
        failures = crowd.failures + ["traceback"] * ("Traceback" in server.log())
    growth = (end[0] - end[1]) / (warm[0] - warm[1]) - 1
    print(f"memory: {warm[0]:.0f} MB after the warm-up, {end[0]:.0f} MB at the end ({end[0] / warm[0] - 1:+.1%})")
    print(f"without the results kept for others: {warm[0] - warm[1]:.0f} and {end[0] - end[1]:.0f} MB ({growth:+.1%})")
    print(f"idle {after_change:.1f} s after the last change, {after_leaving:.1f} s after a visitor left a computation")
    print(f"failures: {failures or 'none'}")
    return 1 if failures or growth > MOST_GROWTH or max(after_change, after_leaving) > MOST_SECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
