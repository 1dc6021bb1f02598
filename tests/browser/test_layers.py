"""The Layers page in a real browser: the gap vanishes at a switch, layers are picked, an override is judged."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.access import violations
from tests.browser.chromium import wait_idle


def visit(page: Page, path: str = "/layers") -> None:
    page.goto(path)
    page.get_by_text("n = 256 shapes images a source").wait_for(timeout=90_000)


def gap(page: Page) -> float:
    """Mean difference in height of the two bars of every channel's sigma, in pixels, once they rest."""
    page.wait_for_timeout(1100)
    script = """root => { const cells = [...root.querySelectorAll('.channel .cell:last-child')];
        const heights = cells.map(c => [...c.children].map(b => b.getBoundingClientRect().height));
        return heights.reduce((sum, [a, b]) => sum + Math.abs(a - b), 0) / heights.length; }"""
    return page.locator(".net").evaluate(script)


def test_the_gap_vanishes_when_ap_are_held_fixed(page: Page) -> None:
    visit(page)
    stored = gap(page)
    page.get_by_test_id("stCheckbox").filter(has_text="Hold AP fixed").locator("label").click()
    page.wait_for_url("**hold=true*")
    wait_idle(page)
    expect(page.locator(".net .legend")).to_contain_text("the same AP")
    assert gap(page) < stored / 4
    page.reload()
    page.locator(".net .channel").first.wait_for(timeout=60_000)
    wait_idle(page)
    assert gap(page) < stored / 4


def test_layers_and_channels_are_picked_by_keyboard_and_pointer(page: Page) -> None:
    visit(page)
    page.locator(".net .node[aria-pressed=true]").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url("**layer=blocks.0.bn1*")
    expect(page.locator(".net h3")).to_contain_text("blocks.0.bn1")
    page.locator(".net .channel").nth(4).click()
    page.wait_for_url("**channel=4*")
    expect(page.get_by_role("heading", name="Channel 4: the values themselves")).to_be_visible()
    page.goto("/layers?layer=blocks.3.bn1&channel=6")
    expect(page.locator(".net h3")).to_contain_text("Layer 8, blocks.3.bn1", timeout=60_000)


def test_an_override_is_judged_stands_in_the_link_and_is_reset(page: Page) -> None:
    visit(page)
    page.locator(".mix input").nth(3).focus()
    page.keyboard.press("Home")
    page.wait_for_url("**mix=3**0*")
    page.get_by_text("--layer blocks.1.bn1=0").wait_for(timeout=30_000)
    page.get_by_text("change: paired, on").wait_for(timeout=60_000)
    robust = page.get_by_test_id("stMetric").filter(has_text="Robust accuracy")
    assert "-" in robust.get_by_test_id("stMetricDelta").inner_text()  # measured: about 20 points fewer than all alike
    page.reload()
    page.get_by_text("--layer blocks.1.bn1=0").wait_for(timeout=60_000)
    expect(page.locator(".mix output").nth(3)).to_have_text("0.00", timeout=60_000)
    page.get_by_role("button", name="Reset").click()
    expect(page.locator(".mix output").nth(3)).to_have_text("1.00", timeout=30_000)
    wait_idle(page)
    assert "mix=" not in page.url


@pytest.mark.parametrize(("width", "scheme"), [(1366, "light"), (390, "dark")])
def test_accessible_and_within_the_screen(browser: Browser, app_server: str, width: int, scheme: Any) -> None:
    context = browser.new_context(base_url=app_server, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    visit(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
    assert errors == []
    context.close()
