"""How a browser test uses the Explore page: open it, drag its slider, read what it shows and what it tells the server.

Usage::

    sent = listen(page)                  # before visiting
    visit(page, "/?lam=0.2")
    with holding(page, 0.2): pull(page, 0.8); assert not sent
    settled(page, lam=0.8)
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, WebSocket, expect

from tests.browser.chromium import wait_idle

HANDLE = ".blend input[type=range]"
ROOT = ".blend"
THUMB = 28
"""Width of the slider's thumb in pixels; its middle runs from half of it to half of it before the end."""


def listen(page: Page) -> list[bytes | str]:
    """All that the page will send over its websocket; call it before the page is opened."""
    sent: list[bytes | str] = []

    def opened(socket: WebSocket) -> None:
        socket.on("framesent", sent.append)

    page.on("websocket", opened)
    return sent


def visit(page: Page, path: str) -> None:
    """Opens Explore and waits until it is complete, images included."""
    page.goto(path)
    page.locator(HANDLE).wait_for(timeout=90_000)
    wait_idle(page, 90)
    expect(page.locator(f"{ROOT} canvas").first).to_be_visible(timeout=30_000)


def lam(page: Page) -> float:
    """Where the component stands."""
    return float(page.locator(ROOT).get_attribute("data-lam") or "nan")


def query(page: Page) -> dict[str, str]:
    """The parameters in the address."""
    return {key: values[-1] for key, values in parse_qs(urlsplit(page.url).query).items()}


def settled(page: Page, **wanted: str) -> None:
    """Waits until the address holds these parameters and the server is done."""
    for key, value in wanted.items():
        page.wait_for_function(
            "([key, value]) => new URLSearchParams(location.search).get(key) === value", arg=[key, value]
        )
    wait_idle(page)


SHOWN = """root => {
  const attribute = (selector, name) => root.querySelector(selector)?.getAttribute(name) ?? null;
  const text = selector => root.querySelector(selector).textContent;
  return {
    rule: attribute('.curves .rule', 'x1'),
    clean_dot: attribute('.curves .dot.clean', 'transform'),
    robust_dot: attribute('.curves .dot.robust', 'transform'),
    clean: text('.readout.clean [data-part=value]'),
    robust: text('.readout.robust [data-part=value]'),
    adversarial: [...root.querySelectorAll('canvas.adversarial')].map(canvas => canvas.toDataURL()).join(),
    difference: [...root.querySelectorAll('canvas.difference')].map(canvas => canvas.toDataURL()).join(),
    original: [...root.querySelectorAll('canvas.original')].map(canvas => canvas.toDataURL()).join(),
    statistics_bars: attribute('.columns .statistics path', 'd'),
    affine_bars: attribute('.columns .affine path', 'd'),
  };
}"""


def shown(page: Page) -> dict[str, Any]:
    """Everything in the component that follows the slider: places, numbers, pixels, bars."""
    return page.locator(ROOT).evaluate(SHOWN)


def pull(page: Page, to: float, steps: int = 20) -> None:
    """Moves the pointer along the slider to where its thumb stands for `to` (a slider from 0 to 1)."""
    box = page.locator(HANDLE).bounding_box()
    assert box is not None
    x = box["x"] + THUMB / 2 + to * (box["width"] - THUMB)
    page.mouse.move(x, box["y"] + box["height"] / 2, steps=steps)


@contextmanager
def holding(page: Page, at: float) -> Generator[None]:
    """The slider held with the mouse, let go at the end."""
    page.locator(HANDLE).scroll_into_view_if_needed()
    pull(page, at, steps=1)
    page.mouse.down()
    try:
        yield
    finally:
        page.mouse.up()


def metric(page: Page, label: str) -> str:
    """The value in one of Streamlit's number cards."""
    return page.locator("[data-testid=stMetric]", has_text=label).locator("[data-testid=stMetricValue]").inner_text()
