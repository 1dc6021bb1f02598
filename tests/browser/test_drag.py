"""The Explore page in a real browser: dragging, keys, links, colour schemes, phone width, accessibility."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocket, expect

from tests.browser.access import violations
from tests.browser.chromium import wait_idle

HANDLE = ".blend input[type=range]"
# Streamlit's own parts, which a page cannot change.


def visit(page: Page, path: str) -> None:
    page.goto(path)
    page.locator(HANDLE).wait_for(timeout=60_000)
    wait_idle(page)


def lam(page: Page) -> float:
    return float(page.locator(".blend").get_attribute("data-lam") or "nan")


def pictures(page: Page) -> str:
    """Fingerprint of all images the component draws."""
    script = "root => [...root.querySelectorAll('.tile')].map(t => getComputedStyle(t).background).join('|')"
    return page.locator(".blend").evaluate(script)


def drag(page: Page, start: float, stop: float, steps: int = 20) -> None:
    """Pulls the slider's handle from one lambda to another, without letting go."""
    box = page.locator(HANDLE).bounding_box()
    assert box is not None
    left, width, y = box["x"] + 14, box["width"] - 28, box["y"] + box["height"] / 2
    page.mouse.move(left + start * width, y)
    page.mouse.down()
    page.mouse.move(left + stop * width, y, steps=steps)


def test_drag_moves_everything_without_a_message_and_tells_once_on_release(page: Page) -> None:
    sent: list[Any] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(frame))

    page.on("websocket", listen)
    visit(page, "/?lam=0")
    before, images = page.locator(".blend .robust [data-part=value]").inner_text(), pictures(page)
    page.wait_for_timeout(500)
    sent.clear()
    drag(page, 0, 1)
    expect(page.locator(".blend")).to_have_attribute("data-lam", "1")
    assert page.locator(".blend .robust [data-part=value]").inner_text() != before
    assert pictures(page) != images
    assert sent == []
    page.mouse.up()
    wait_idle(page)
    assert sent
    page.wait_for_url("**lam=1*")


def test_keys_step_and_jump(page: Page) -> None:
    visit(page, "/?lam=0.5")
    page.locator(HANDLE).focus()
    for key, wanted in (("ArrowRight", 0.55), ("PageUp", 0.65), ("PageDown", 0.55), ("End", 1), ("Home", 0)):
        page.keyboard.press(key)
        assert lam(page) == pytest.approx(wanted)


def test_a_link_restores_the_state(page: Page) -> None:
    visit(page, "/?lam=0.3&attack=FGSM&slide=statistics&ap=clean")
    assert lam(page) == pytest.approx(0.3)
    page.locator(HANDLE).focus()
    page.keyboard.press("End")
    page.wait_for_url("**lam=1*")
    page.reload()
    page.locator(HANDLE).wait_for()
    wait_idle(page)
    assert lam(page) == 1
    assert "attack=FGSM" in page.url


def test_play_sweeps_pauses_and_goes_on(page: Page) -> None:
    visit(page, "/?lam=0.3")
    button = page.locator(".blend [data-part=play]")
    button.click()
    page.wait_for_timeout(600)
    page.get_by_role("button", name="Pause the sweep").click()
    paused = lam(page)
    assert 0 < paused < 1
    page.wait_for_timeout(500)
    assert lam(page) == paused
    button.click()
    expect(page.locator(".blend")).to_have_attribute("data-lam", "1")
    expect(page.get_by_role("button", name="Play: sweep")).to_be_visible()
    page.wait_for_url("**lam=1*")


def test_pinning_reaches_the_url_and_the_live_card(page: Page) -> None:
    visit(page, "/")
    page.locator(".blend .column").nth(3).click()
    page.wait_for_url("**image=3*")
    expect(page.get_by_text("(pinned)")).to_be_visible()


def test_a_preset_moves_the_slider(page: Page) -> None:
    visit(page, "/?lam=0.2")
    page.get_by_role("button", name="Presets").click()
    page.get_by_role("button", name="Swap only the statistics").click()
    wait_idle(page)
    expect(page.locator(".blend")).to_have_attribute("data-lam", "1")
    assert "slide=statistics" in page.url


def test_a_deep_link_opens_the_other_page(page: Page) -> None:
    page.goto("/models")
    expect(page.get_by_role("heading", name="What was trained, and on what?")).to_be_visible(timeout=60_000)


def test_two_visitors_do_not_disturb_each_other(page: Page, browser: Browser, app_server: str) -> None:
    visit(page, "/?lam=0")
    other = browser.new_context(base_url=app_server).new_page()
    visit(other, "/?lam=1&model=shapes-dual-ap")
    value = page.locator("[data-testid=stMetricValue]").nth(1)
    before = value.inner_text()
    other.locator(HANDLE).focus()
    other.keyboard.press("Home")
    wait_idle(other)
    assert (lam(page), value.inner_text()) == (0, before)
    other.context.close()


@pytest.mark.parametrize("width", [1366, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_local_and_within_the_screen(browser: Browser, app_server: str, width: int, scheme: Any) -> None:
    context = browser.new_context(base_url=app_server, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    hosts: set[str] = set()
    errors: list[str] = []
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "//" in request.url else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    visit(page, "/?lam=0.7")
    background = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    assert (sum(int(part) for part in background[4:-1].split(",")) < 200) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
    assert errors == []
    assert hosts == {app_server.split("//")[1]}
    context.close()
