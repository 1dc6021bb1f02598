"""A classroom at once on one real server: `make load`, on a machine that does nothing else.

Thirty sessions open Explore within a minute (WebSocket visitors that speak Streamlit's protocol; `--browsers N` of them
in Chromium, whose first paint is measured), then all ask for a live attack on an image of their own at the same moment.
Every answer is compared with the one that a second, fresh server gives when asked one after the other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.chromium import LAUNCH_ARGS, find_chromium
from tests.browser.server import Server, serve
from tests.visitor import Visitor

ROOT = Path(__file__).parent.parent
WITHIN = 60.0
VARIABLES = {"DUAL_BN_MODE": "demo"}
PAINTED = ".blend input[type=range]"


@dataclass(frozen=True, slots=True)
class Opened:
    """Seconds from asking to the first thing on the page, and to the end of its run."""

    first: float
    whole: float
    failures: list[str]


def resident(server: Server) -> float:
    """Megabytes of the server process."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_session(server: Server, delay: float) -> tuple[Visitor, Opened]:
    """Waits for its turn in the minute, then opens Explore and stays."""
    time.sleep(delay)
    visitor, began = Visitor(server.url), time.monotonic()
    visitor.open()
    return visitor, Opened(visitor.first_element, time.monotonic() - began, visitor.failures())


def paint_in_chromium(server: Server, delays: list[float]) -> list[float]:
    """Seconds from navigation to the drawn chart, one page after another in contexts of their own."""
    seconds: list[float] = []
    began = time.monotonic()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(LAUNCH_ARGS))
        for delay in delays:
            time.sleep(max(0.0, delay - (time.monotonic() - began)))
            page = browser.new_context(viewport={"width": 1366, "height": 900}).new_page()
            start = time.monotonic()
            page.goto(server.url)
            page.locator(PAINTED).wait_for(timeout=120_000)
            seconds.append(time.monotonic() - start)
        browser.close()
    return seconds


def attack(visitor: Visitor, index: int, ready: Callable[[], object] = lambda: None) -> tuple[float, Any]:
    """Seconds, and what the film component was given: every step's picture, confidence and loss at both settings."""
    ready()
    began = time.monotonic()
    visitor.open("attack", f"picture={index}&steps=10")
    return time.monotonic() - began, visitor.payload("dual_bn_film")


def serial_answers(n: int) -> list[Any]:
    """The same attacks on a server of their own, one after the other."""
    with tempfile.TemporaryDirectory() as folder, serve(ROOT / "app" / "server.py", Path(folder), VARIABLES) as server:
        answers: list[Any] = []
        for index in range(n):
            with Visitor(server.url) as visitor:
                answers.append(attack(visitor, index)[1])
        return answers


def p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def crowd(server: Server, sessions: int, browsers: int) -> tuple[list[Opened], list[float], list[tuple[float, Any]]]:
    """All that thirty people do in the minute, and the attacks that they ask for at once."""
    step = WITHIN / sessions
    with ThreadPoolExecutor(sessions) as pool:
        painting = pool.submit(
            paint_in_chromium, server, [step * i * sessions / max(1, browsers) for i in range(browsers)]
        )
        opening = [pool.submit(open_session, server, step * i) for i in range(sessions - browsers)]
        opened = [one.result() for one in opening]
        painted = painting.result()
        print(f"memory with all sessions open: {resident(server):.0f} MB", flush=True)
        visitors = [visitor for visitor, _ in opened] + [Visitor(server.url) for _ in range(browsers)]
        together = threading.Barrier(sessions)
        asking = [pool.submit(attack, visitor, index, together.wait) for index, visitor in enumerate(visitors)]
        answers = [one.result() for one in asking]
        for visitor in visitors:
            visitor.close()
    return [one for _, one in opened], painted, answers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--browsers", type=int, default=5, help="how many of them in Chromium")
    parser.add_argument("--small", action="store_true", help="4 sessions, 1 in Chromium: whether it works at all")
    chosen = parser.parse_args()
    sessions, browsers = (4, 1) if chosen.small else (chosen.sessions, chosen.browsers)
    print(
        f"{sessions} sessions ({browsers} in Chromium), {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as folder, serve(ROOT / "app" / "server.py", Path(folder), VARIABLES) as server:
        print(f"memory of the idle server: {resident(server):.0f} MB", flush=True)
        opened, painted, answers = crowd(server, sessions, browsers)
        print(f"memory after the attacks: {resident(server):.0f} MB")
        log = server.log()
    failures = [failure for one in opened for failure in one.failures] + ["traceback"] * ("Traceback" in log)
    first, whole, waits = [o.first for o in opened], [o.whole for o in opened], [seconds for seconds, _ in answers]
    print(f"first element: median {statistics.median(first):.2f} s, p95 {p95(first):.2f} s (n = {len(first)})")
    print(f"whole page: median {statistics.median(whole):.2f} s, p95 {p95(whole):.2f} s")
    if painted:
        print(f"first paint of the chart in Chromium: p95 {p95(painted):.2f} s (n = {len(painted)})")
    print(f"{len(waits)} live attacks at once: median {statistics.median(waits):.1f} s, last {max(waits):.1f} s")
    wrong = sum(mine != theirs for (_, mine), theirs in zip(answers, serial_answers(len(answers)), strict=True))
    print(f"answers that differ from the serial ones: {wrong} of {len(answers)}; failures: {failures or 'none'}")
    return 1 if wrong or failures else 0


if __name__ == "__main__":
    sys.exit(main())
