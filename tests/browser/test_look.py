"""How the pages look and behave in light and dark, wide and narrow: legible, accessible, local, free of errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.chromium import wait_idle
from tests.browser.explorer import HANDLE, ROOT, lam, settled, visit

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
ABOUT = "What was trained, and on what?"
# Violations in Streamlit's own parts, which a page cannot mend: (rule, part of the element's HTML). None at present.
NOT_OURS: tuple[tuple[str, str], ...] = ()
# On a deep link Streamlit looks for its server below the page's own path first, and falls back.
EXPECTED_404 = ("/about/_stcore/health", "/about/_stcore/host-config")


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    return request.param


@pytest.fixture
def context(browser: Browser, app_server: str, scheme: Scheme) -> Iterator[BrowserContext]:
    """A visitor who prefers this colour scheme."""
    context = browser.new_context(
        base_url=app_server, color_scheme=scheme, viewport={"width": 1400, "height": 1000}, locale="en-GB"
    )
    yield context
    context.close()


def open_page(page: Page, name: str) -> None:
    if name == "explore":
        visit(page, "/?lam=0.7")
        return
    page.goto("/about")
    expect(page.get_by_role("heading", name=ABOUT)).to_be_visible(timeout=60_000)
    wait_idle(page)


# --- contrast ---------------------------------------------------------------------------------------------------------

COLOUR = """(element, kind) => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  canvas.fillStyle = getComputedStyle(element)[kind];
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


def luminance(colour: list[int]) -> float:
    """Relative luminance of an 8-bit sRGB colour (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (level / 255 for level in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: list[int], b: list[int]) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand() -> None:
    assert contrast([0, 0, 0], [255, 255, 255]) == pytest.approx(21)
    assert contrast([119, 119, 119], [255, 255, 255]) == pytest.approx(4.48, abs=0.01)


TEXTS = (
    "h1",
    f"{ROOT} .lead",
    f"{ROOT} .readout.clean .value",
    f"{ROOT} .readout.robust .value",
    f"{ROOT} .provenance",
    f"{ROOT} .verdict[data-right=true] .mark",
    f"{ROOT} .verdict[data-right=false] .mark",
    "[data-testid=stMetricValue]",
    "[data-testid=stCaptionContainer] p",
)


def test_dark_is_dark_and_everything_can_be_read(context: BrowserContext, scheme: Scheme) -> None:
    page = context.new_page()
    open_page(page, "explore")
    ground = page.locator("[data-testid=stApp]").evaluate(COLOUR, "backgroundColor")
    assert (luminance(ground) < 0.05) if scheme == "dark" else (luminance(ground) > 0.9)
    for selector in TEXTS:
        ink = page.locator(selector).first.evaluate(COLOUR, "color")
        assert contrast(ink, ground) >= 4.5, selector
    for part in (".curves .dot.clean", ".curves .dot.robust"):
        assert contrast(page.locator(f"{ROOT} {part}").evaluate(COLOUR, "fill"), ground) >= 3, part


@pytest.mark.parametrize("name", ["explore", "about"])
def test_axe_finds_nothing_serious(context: BrowserContext, name: str) -> None:
    page = context.new_page()
    open_page(page, name)
    found = [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
        if not any(rule == violation["id"] and part in node["html"] for rule, part in NOT_OURS)
    ]
    assert found == []


# --- narrow screens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["explore", "about"])
@pytest.mark.parametrize("width", [390, 768])
def test_no_sideways_scroll(browser: Browser, app_server: str, name: str, width: int) -> None:
    context = browser.new_context(base_url=app_server, viewport={"width": width, "height": 844}, has_touch=True)
    page = context.new_page()
    open_page(page, name)
    too_wide = page.evaluate(
        """() => ['html', 'body', '[data-testid=stApp]', '[data-testid=stMain]']
            .map(selector => [selector, document.querySelector(selector)])
            .filter(([, box]) => box.scrollWidth > box.clientWidth).map(([selector]) => selector)"""
    )
    assert too_wide == []
    if name == "explore":
        handle = page.locator(HANDLE)
        box = handle.bounding_box()
        assert box is not None
        assert 0 <= box["x"]
        assert box["x"] + box["width"] <= width
        handle.tap(position={"x": box["width"] - 15, "y": box["height"] / 2})
        assert lam(page) == 1
        settled(page, lam="1")
    context.close()


# --- errors and hosts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["explore", "about"])
def test_no_errors_and_no_other_host(browser: Browser, app_server: str, name: str) -> None:
    context = browser.new_context(base_url=app_server)
    page = context.new_page()
    problems, hosts = list[str](), set[str]()

    def said(message: ConsoleMessage) -> None:
        expected = urlsplit(message.location["url"]).path in EXPECTED_404
        if message.type in ("error", "warning") and not expected:
            problems.append(f"{message.text} at {message.location['url']}")

    page.on("console", said)
    page.on("pageerror", lambda error: problems.append(str(error)))
    context.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).netloc))
    open_page(page, name)
    if name == "explore":
        page.locator(HANDLE).press("End")
        settled(page, lam="1")
        page.get_by_text("Why does this happen?").click()
    assert problems == []
    assert hosts - {""} == {urlsplit(app_server).netloc}  # data: addresses have no host
    context.close()
