"""Compare in a real browser: one slider moves both networks, one link holds both sides, images are judged."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.access import violations
from tests.browser.chromium import wait_idle

SLIDER = ".duel input[type=range]"


def visit(page: Page, path: str = "/compare") -> None:
    page.goto(path)
    page.locator(SLIDER).wait_for(timeout=60_000)
    wait_idle(page)


def shares(page: Page) -> list[float]:
    """Accuracies of A and B in percent, clean then robust."""
    return [float(text.rstrip("%")) for text in page.locator(".duel .readout:not(.delta) b").all_inner_texts()]


def test_one_slider_moves_both_and_the_link_holds_both(page: Page) -> None:
    visit(page, "/compare?a_model=shapes-dual-bn&b_model=shapes-madry&lam=1")
    at_one = shares(page)
    page.locator(SLIDER).focus()
    page.keyboard.press("Home")
    page.wait_for_url("**lam=0*")
    at_zero = shares(page)
    assert at_zero[2] < at_one[2] - 30  # dual BN loses its robustness on clean AP
    assert at_zero[3] == at_one[3]  # a single BN has nothing to slide
    page.get_by_role("button", name="Swap A and B").click()
    page.wait_for_url("**a_model=shapes-madry*")
    wait_idle(page)
    swapped = shares(page)
    assert [swapped[1], swapped[0], swapped[3], swapped[2]] == at_zero
    page.reload()
    page.locator(SLIDER).wait_for(timeout=60_000)
    wait_idle(page)
    assert shares(page) == swapped


def test_images_are_judged_one_by_one(page: Page) -> None:
    visit(page, "/compare?b_model=shapes-dual-ns&lam=1")
    judge = page.get_by_role("button", name="Judge 200 images")
    judge.click()
    expect(page.get_by_text("On the very same images")).to_be_visible(timeout=60_000)
    wait_idle(page)
    numbers = [int(text) for text in page.get_by_test_id("stMetricValue").all_inner_texts()]
    assert sum(numbers) == 200


@pytest.mark.parametrize(("width", "scheme"), [(1366, "light"), (390, "dark")])
def test_accessible_and_within_the_screen(browser: Browser, app_server: str, width: int, scheme: Any) -> None:
    context = browser.new_context(base_url=app_server, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    visit(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
    context.close()
