"""A classroom at once on one real server: `make load`, on a machine that does nothing else.

Thirty sessions open Explore within a minute (WebSocket visitors that speak Streamlit's protocol; `--browsers N` of them
in Chromium, whose first paint is measured), then thirty live attacks, each on an image of its own, are asked for at the
same moment. Every answer is compared with the one that a second, fresh server gives when asked one after the other.
One of those in Chromium comes first and drags the slider: alone, while the others open, and while the attacks run. Its
browser shares the cores with the server and all other visitors, which a visitor's own computer does not.
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
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from benchmarks.drag import DRAG, HANDLE, N_INPUTS
from tests.browser.chromium import LAUNCH_ARGS, find_chromium, wait_idle
from tests.browser.server import Server, serve
from tests.visitor import Visitor

ROOT = Path(__file__).parent.parent
WITHIN = 60.0
VARIABLES = {"DUAL_BN_MODE": "demo"}
A_STROKE = 40
"""Inputs until it is asked whether the others are done."""


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


@dataclass(frozen=True, slots=True)
class Dragged:
    """Milliseconds from each input to its paint; inputs a second, one a frame, so that late frames are seen too."""

    times: list[float]
    rate: float

    def __str__(self) -> str:
        figures = f"median {statistics.median(self.times):.1f} ms, p95 {p95(self.times):.1f} ms"
        return f"{figures}, longest {max(self.times):.0f} ms, {self.rate:.0f} frames a second (n = {len(self.times)})"


def drag_until(page: Page, done: Callable[[], bool]) -> Dragged:
    """Drags the slider on Explore stroke by stroke, one at least."""
    times, began = list[float](), time.monotonic()
    while not times or not done():
        times += page.locator(HANDLE).evaluate(DRAG, A_STROKE)
    return Dragged(times, len(times) / (time.monotonic() - began))


def chromium(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=find_chromium(), args=list(LAUNCH_ARGS))


def explore(browser: Browser, server: Server) -> Page:
    """A visitor of its own, who has the chart before the eyes."""
    page = browser.new_context(viewport={"width": 1366, "height": 900}).new_page()
    page.goto(server.url)
    page.locator(HANDLE).wait_for(timeout=120_000)
    return page


def paint_in_chromium(server: Server, delays: list[float]) -> list[float]:
    """Seconds from navigation to the drawn chart, one page after another in contexts of their own."""
    seconds: list[float] = []
    began = time.monotonic()
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        for delay in delays:
            time.sleep(max(0.0, delay - (time.monotonic() - began)))
            start = time.monotonic()
            explore(browser, server)
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


@dataclass(frozen=True, slots=True)
class Crowd:
    """What became of all; dragged: by what the others did meanwhile."""

    opened: list[Opened]
    painted: list[float]
    answers: list[tuple[float, Any]]
    dragged: dict[str, Dragged]


def open_all(server: Server, sessions: int, browsers: int) -> tuple[list[tuple[Visitor, Opened]], list[float]]:
    """Those who come within the minute, `browsers` of them in Chromium, until the last one's page is whole."""
    step = WITHIN / sessions
    with ThreadPoolExecutor(sessions) as pool:
        delays = [step * i * sessions / max(1, browsers) for i in range(browsers)]
        painting = pool.submit(paint_in_chromium, server, delays)
        opening = [pool.submit(open_session, server, step * i) for i in range(sessions - browsers)]
        return [one.result() for one in opening], painting.result()


def attack_all(visitors: list[Visitor]) -> list[tuple[float, Any]]:
    together = threading.Barrier(len(visitors))
    with ThreadPoolExecutor(len(visitors)) as pool:
        asking = [pool.submit(attack, visitor, index, together.wait) for index, visitor in enumerate(visitors)]
        return [one.result() for one in asking]


def crowd(server: Server, sessions: int, browsers: int) -> Crowd:
    """All that thirty people do in the minute, the first of whom drags, and the attacks that they ask for at once."""
    with sync_playwright() as playwright, ThreadPoolExecutor(1) as others:
        page = explore(chromium(playwright), server)
        wait_idle(page)
        began = time.monotonic()
        dragged = {"alone": drag_until(page, lambda: time.monotonic() - began > N_INPUTS / 60)}

        def meanwhile(what: str, job: Future[Any]) -> Any:
            dragged[what] = drag_until(page, job.done)
            return job.result()

        opened, painted = meanwhile(
            "while the others open", others.submit(open_all, server, sessions - 1, browsers - 1)
        )
        print(f"memory with all sessions open: {resident(server):.0f} MB", flush=True)
        visitors = [visitor for visitor, _ in opened] + [Visitor(server.url) for _ in range(browsers)]
        answers = meanwhile("while the attacks run", others.submit(attack_all, visitors))
        for visitor in visitors:
            visitor.close()
    return Crowd([one for _, one in opened], painted, answers, dragged)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--browsers", type=int, default=5, help="how many of them in Chromium")
    parser.add_argument("--small", action="store_true", help="4 sessions, 1 in Chromium: whether it works at all")
    chosen = parser.parse_args()
    sessions, browsers = (4, 1) if chosen.small else (chosen.sessions, chosen.browsers)
    if not 1 <= browsers < sessions:
        parser.error("--browsers must be at least 1, one of them drags, and fewer than --sessions")
    print(
        f"{sessions} sessions ({browsers} in Chromium), {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as folder, serve(ROOT / "app" / "server.py", Path(folder), VARIABLES) as server:
        print(f"memory of the idle server: {resident(server):.0f} MB", flush=True)
        found = crowd(server, sessions, browsers)
        print(f"memory after the attacks: {resident(server):.0f} MB")
        log = server.log()
    wrong = sum(
        mine != theirs for (_, mine), theirs in zip(found.answers, serial_answers(len(found.answers)), strict=True)
    )
    failures = [failure for one in found.opened for failure in one.failures] + ["traceback"] * ("Traceback" in log)
    report(found)
    print(f"answers that differ from the serial ones: {wrong} of {len(found.answers)}; failures: {failures or 'none'}")
    return 1 if wrong or failures else 0


def report(found: Crowd) -> None:
    first, whole, waits = (
        [one.first for one in found.opened], [one.whole for one in found.opened], [wait for wait, _ in found.answers],
    )  # fmt: skip
    print(f"first element: median {statistics.median(first):.2f} s, p95 {p95(first):.2f} s (n = {len(first)})")
    print(f"whole page: median {statistics.median(whole):.2f} s, p95 {p95(whole):.2f} s")
    if found.painted:
        print(f"first paint of the chart in Chromium: p95 {p95(found.painted):.2f} s (n = {len(found.painted)})")
    print(f"{len(waits)} live attacks at once: median {statistics.median(waits):.1f} s, last {max(waits):.1f} s")
    for meanwhile, dragged in found.dragged.items():
        print(f"dragging, input to paint, {meanwhile}: {dragged}")


if __name__ == "__main__":
    sys.exit(main())
