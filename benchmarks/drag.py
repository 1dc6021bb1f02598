"""What a visitor waits for, measured in headless Chromium against the real server.

Usage::

    python -m benchmarks.drag               # a table; --json for one object

Rows: input to paint of a drag, the component's payload, first meaningful paint of a warm server, from letting go of a
live slider to the new picture, the server's memory with two checkpoints loaded, and what the first page loads.
Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

from playwright.sync_api import Page, sync_playwright

from app.components.blend import Start, _plain  # pyright: ignore[reportPrivateUsage]
from app.explore.payload import Shown, build, sources
from app.selection import Selection
from engine import api
from engine.cli.output import show
from tests.browser.chromium import LAUNCH_ARGS, find_chromium, wait_idle
from tests.browser.server import serve

ROOT = Path(__file__).resolve().parents[1]
HANDLE = ".blend input[type=range]"
N_INPUTS = 200
# One input event a frame, dispatched before the frame is drawn; the time runs until that frame has been painted.
DRAG = """async (input, n) => {
  const blend = input.closest('.blend');
  const frame = () => new Promise(done => requestAnimationFrame(done));
  const painted = () => new Promise(done => {
    const channel = new MessageChannel(); channel.port1.onmessage = done; channel.port2.postMessage(0);
  });
  const times = [];
  for (let k = 0; k < n; k++) {
    const value = ((k * 7) % 21) / 20;
    await frame();
    const start = performance.now();
    input.value = value;
    input.dispatchEvent(new Event('input', {bubbles: true}));
    if (Math.abs(Number(blend.dataset.lam) - value) > 1e-6) throw new Error('not shown: ' + value);
    await painted();
    times.push(performance.now() - start);
  }
  return times;
}"""

# Resolves to the milliseconds from the next key to the frame in which the text stands on the page.
LIVE = """text => {
  window.live = new Promise(done => {
    let start = 0;
    addEventListener('keydown', () => start = performance.now(), {once: true, capture: true});
    const look = () => {
      const captions = [...document.querySelectorAll('[data-testid=stCaptionContainer]')];
      const there = captions.some(node => node.textContent.includes(text));
      if (!there) return requestAnimationFrame(look);
      const channel = new MessageChannel();
      channel.port1.onmessage = () => done(performance.now() - start);
      requestAnimationFrame(() => channel.port2.postMessage(0));
    };
    look();
  });
}"""

# The same for the first pane's heading in the film component, which lives in a shadow root.
FILM = """(film, text) => {
  window.live = new Promise(done => {
    let start = 0;
    addEventListener('keydown', () => start = performance.now(), {once: true, capture: true});
    const look = () => {
      if (film.querySelector('h3').textContent !== text) return requestAnimationFrame(look);
      const channel = new MessageChannel();
      channel.port1.onmessage = () => done(performance.now() - start);
      requestAnimationFrame(() => channel.port2.postMessage(0));
    };
    look();
  });
}"""
RATE = """async film => {
  const start = performance.now();
  const first = Number(film.dataset.frame);
  await new Promise(done => setTimeout(done, 700));
  return (Number(film.dataset.frame) - first) / (performance.now() - start) * 1000;
}"""


def payload_kilobytes(checkpoint: str) -> float:
    """Size of the component's payload as JSON, with the shipped sweep and images."""
    bench, card = api.open_bench(checkpoint, api.pick_device("cpu"), n=1000)
    folder = api.checkpoint_folder(checkpoint)
    sha = card.weights_sha256
    records = tuple(api.load_sweep(folder / "sweep.jsonl", {"weights_sha256": sha}))
    tracks, strips = api.load_tracks(folder / "gaps.json", sha), api.load_strips(folder / "strip.npz", sha)
    shown = Shown(card, bench.model, bench, records, tracks, strips, {}, "", ())
    selection = Selection(checkpoint, "ap", "clean", "PGD-10", 8)
    content = build(shown, selection, sources(shown, selection), replace(Start(), lam=0.5), "")
    return len(json.dumps(_plain(content))) / 1000


def live_milliseconds(page: Page) -> list[float]:
    """From letting go of the live card's eps slider (a key) to the painted new figures, by the browser's own clock."""
    page.locator(".st-key-live_eps input[type=range]").focus()
    times: list[float] = []
    for level in range(9, 15):
        page.evaluate(LIVE, f"PGD-10 at {level}/255, step")
        page.keyboard.press("ArrowRight")
        times.append(page.evaluate("() => window.live"))
        wait_idle(page)
    return times[1:]


def first_paint(page: Page, address: str) -> float:
    """Milliseconds from asking for the page, with an empty browser cache, until the slider stands there."""
    session = page.context.new_cdp_session(page)
    session.send("Network.clearBrowserCache")
    start = time.perf_counter()
    page.goto(address + "/?ns=adversarial")
    page.locator(HANDLE).wait_for(timeout=120_000)
    elapsed = 1000 * (time.perf_counter() - start)
    wait_idle(page)
    return elapsed


def film_figures(page: Page, address: str) -> tuple[list[float], float]:
    """Milliseconds from a key on the left slider to the painted new film, and frames a second while it plays."""
    page.goto(address + "/attack")
    page.locator(".film input").wait_for(timeout=120_000)
    wait_idle(page)
    page.get_by_test_id("stSlider").first.locator("input").focus()
    times: list[float] = []
    for step in range(1, 7):
        page.locator(".film").evaluate(FILM, f"λ = {0.05 * step:g}")
        page.keyboard.press("ArrowRight")
        times.append(page.evaluate("() => window.live"))
        wait_idle(page)
    page.get_by_role("button", name="Play the attack").click()
    return times[1:], page.locator(".film").evaluate(RATE)


def growth_over_attacks(page: Page, address: str) -> tuple[float, float]:
    """The server's memory after 20 films that were never asked for before, and after 100 more."""
    port, sizes = address.rsplit(":", 1)[1], list[float]()
    for picture in range(6):
        page.goto(f"{address}/attack?picture={picture}&left=0")
        page.locator(".film input").wait_for(timeout=120_000)
        wait_idle(page)
        page.get_by_test_id("stSlider").first.locator("input").focus()
        for step in range(1, 21):
            page.locator(".film").evaluate(FILM, f"λ = {0.05 * step:g}")
            page.keyboard.press("ArrowRight")
            page.evaluate("() => window.live")
        sizes.append(resident_megabytes(port))
    return sizes[0], sizes[-1]


def resident_megabytes(port: str) -> float:
    """Memory of the server process that listens on the port."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = (status.parent / "cmdline").read_bytes().decode(errors="replace")
            if "streamlit" in command and f"\0{port}\0" in command.replace("=", "\0") + "\0":
                return int(re.findall(r"VmRSS:\s+(\d+)", status.read_text())[0]) / 1000
        except (OSError, IndexError):
            continue
    return float("nan")


def measure() -> dict[str, str]:
    """Name of a figure -> what was measured."""
    figures: dict[str, str] = {"component payload": f"{payload_kilobytes('shapes-dual-bn'):.0f} kB"}
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(ROOT / "app" / "main.py", Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(LAUNCH_ARGS))
        page, loaded = browser.new_page(viewport={"width": 1366, "height": 900}), list[str]()
        page.on("request", lambda request: loaded.append(request.url))
        first_paint(page, server.url)
        times = [first_paint(page, server.url) for _ in range(3)]
        figures["first meaningful paint, warm server"] = f"{median(times):.0f} ms (3 visits)"
        figures["Plotly loaded by the first page"] = "yes" if any("plotly" in url.lower() for url in loaded) else "no"
        times = page.locator(HANDLE).evaluate(DRAG, N_INPUTS)
        p95 = quantiles(times, n=20)[-1]
        figures["drag, input to paint"] = f"median {median(times):.1f} ms, p95 {p95:.1f} ms ({N_INPUTS} inputs)"
        wait_idle(page)
        live = live_milliseconds(page)
        figures["live attack, release to painted"] = f"median {median(live):.0f} ms, max {max(live):.0f} ms"
        film, rate = film_figures(page, server.url)
        figures["film of an attack, key to painted"] = f"median {median(film):.0f} ms, max {max(film):.0f} ms"
        figures["film while it plays"] = f"{rate:.0f} frames a second"
        before, after = growth_over_attacks(page, server.url)
        figures["server memory after 20 films, and after 100 more"] = f"{before:.0f} MB, {after:.0f} MB"
        page.goto(server.url + "/?model=shapes-dual-ap")
        page.locator(HANDLE).wait_for(timeout=120_000)
        wait_idle(page)
        megabytes = resident_megabytes(server.url.rsplit(":", 1)[1])
        figures["server memory, two checkpoints"] = f"{megabytes:.0f} MB"
        browser.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="What a visitor waits for.")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "streamlit", "playwright"))
    figures["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}"
    show(
        dict(figures), arguments.json, "What a visitor waits for", ["figure", "measured"], [*map(list, figures.items())]
    )


if __name__ == "__main__":
    main()
