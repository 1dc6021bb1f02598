"""The hosted server's content policy in a real browser: what a page needs passes, what is foreign does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.chromium import wait_idle
from tests.browser.server import Server, serve

ROOT = Path(__file__).parents[2]
PAGES = {
    "": ".blend input[type=range]",
    "layers": "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg",
    "attack": ".film input[type=range]",
    "models": "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg",
    "paper": "h1",
}
"""Path -> what is there once its component or chart has been drawn, which is what a policy breaks first."""


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(ROOT / "app" / "server.py", tmp_path_factory.mktemp("hosted"), {"DUAL_BN_MODE": "demo"}) as server:
        yield server


@pytest.fixture
def blocked(page: Page) -> list[str]:
    """What the policy refuses from now on."""
    found: list[str] = []
    page.on(
        "console", lambda message: found.append(message.text) if "Content Security Policy" in message.text else None
    )
    return found


@pytest.mark.parametrize("path", PAGES)
def test_the_policy_blocks_nothing_that_a_page_needs(page: Page, hosted: Server, blocked: list[str], path: str) -> None:
    page.goto(f"{hosted.url}/{path}")
    page.locator(PAGES[path]).first.wait_for(timeout=60_000)
    wait_idle(page)
    assert blocked == []


def test_the_policy_blocks_a_script_from_elsewhere(page: Page, hosted: Server, blocked: list[str]) -> None:
    page.goto(f"{hosted.url}/models")
    page.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {src: 'https://evil.example/'}))"
    )
    page.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.bad = 1'}))"
    )
    page.wait_for_function("() => true")
    assert page.evaluate("window.bad") is None
    assert any("evil.example" in text for text in blocked)
