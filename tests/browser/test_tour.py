"""The guided tour in a real browser, by keyboard alone, and lecture mode as the last row sees it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from app.tour.steps import STEPS
from tests.browser.access import violations
from tests.browser.chromium import wait_idle

WAIT = 90_000
patient = pytest.mark.timeout(400, func_only=True)
"""For what waits often, on a machine that has other work as well."""
FOCUS = """() => { let e = document.activeElement;
    while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
    if (!e || e === document.body) return '';
    const text = e.innerText || e.textContent || e.getAttribute('aria-label') || '';
    return text.length < 200 ? text : e.tagName; }"""
"""What has the focus, in words; a scrolling region, which holds the whole page's text, by its tag."""
LECTURE = {"width": 1280, "height": 720}
READABLE = 28
"""Pixels of a key number that the last row can read."""


def visit(page: Page, path: str) -> None:
    page.goto(path, timeout=WAIT)
    page.get_by_role("heading", level=1).first.wait_for(timeout=WAIT)
    wait_idle(page, 90)


def tab_to(page: Page, text: str, most: int = 70) -> None:
    """Presses Tab until what has the focus says `text`."""
    seen: list[str] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUS))
        if text in seen[-1]:
            return
    raise AssertionError(f"{text!r} cannot be reached by Tab; met {seen}")


def option(page: Page, number: int) -> Locator:
    return page.locator(f".st-key-option_{number} button")


@patient
def test_the_whole_tour_by_keyboard_guesses_included(page: Page) -> None:
    visit(page, "/tour")
    for number, step in enumerate(STEPS, start=1):
        expect(page.get_by_role("heading", level=1)).to_have_text(step.heading, timeout=WAIT)
        expect(option(page, 0)).to_be_visible(timeout=WAIT)
        wait_idle(page, 90)
        tab_to(page, option(page, 0).inner_text().split("\n")[-1])
        page.keyboard.press("Enter")
        expect(page.get_by_text(re.compile("You guessed it|A fair guess|Your guess fits"))).to_be_visible(timeout=WAIT)
        wait_idle(page, 90)
        assert page.evaluate(FOCUS)  # on the option that was chosen, not lost
        expect(page.get_by_role("link", name=step.try_it)).to_have_attribute("href", re.compile(f"^{step.page}"))
        if number < len(STEPS):
            tab_to(page, f"Next: {STEPS[number].title}")
            page.keyboard.press("Enter")
            expect(page).to_have_url(re.compile(f"step={number + 1}"), timeout=WAIT)
            page.wait_for_function(f"() => ({FOCUS})().includes('Step {number + 1} of')", timeout=WAIT)
    expect(page.locator(".st-key-next_step button")).to_be_disabled()


def test_a_link_opens_its_step_and_try_it_opens_the_state(page: Page) -> None:
    visit(page, "/tour?step=3&notes=true")
    expect(page.get_by_role("heading", level=1)).to_have_text(STEPS[2].heading, timeout=WAIT)
    expect(page.get_by_text("For the teacher.")).to_be_visible()
    slider = page.locator(".blend input[type=range]")
    expect(slider).to_be_disabled(timeout=WAIT)
    expect(page.locator(".blend .readout.robust .value")).to_have_text("2.6%")
    page.locator(".st-key-tell button").click()
    expect(slider).to_be_enabled(timeout=WAIT)
    expect(page.locator(".blend .readout.robust .value")).to_have_text("9.1%", timeout=WAIT)
    href = page.get_by_role("link", name=STEPS[2].try_it).get_attribute("href")
    assert href is not None
    visit(page, href)
    expect(page.locator(".blend .readout.robust .value")).to_have_text("9.1%", timeout=WAIT)
    assert page.get_by_role("alert").count() == 0


@patient
@pytest.mark.parametrize(
    ("width", "scheme", "path"),
    [(1366, "light", "/tour?step=3"), (1366, "dark", "/tour?step=8&notes=true"), (390, "light", "/tour"),
     (390, "dark", "/tour?step=6")],
)  # fmt: skip
def test_accessible_and_within_the_screen(
    browser: Browser, app_server: str, width: int, scheme: Any, path: str
) -> None:
    context = browser.new_context(base_url=app_server, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    visit(page, path)
    page.locator(".st-key-tell button").click()
    page.get_by_text("The answer:").wait_for(timeout=WAIT)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert errors == []
    context.close()


@patient
@pytest.mark.parametrize(
    ("path", "number"),
    [("/?lam=0.7", ".blend .readout.robust .value"), ("/tour?step=4", ".blend .readout.robust .value"),
     ("/attack", ".film .verdict")],
)  # fmt: skip
def test_a_lecture_shows_figure_and_numbers_large_on_one_screen(
    browser: Browser, app_server: str, path: str, number: str
) -> None:
    context = browser.new_context(base_url=app_server, viewport=LECTURE)  # pyright: ignore[reportArgumentType]
    page = context.new_page()
    visit(page, path + ("&" if "?" in path else "?") + "mode=lecture")
    shown = page.locator(number).first
    shown.wait_for(timeout=WAIT)
    wait_idle(page, 90)
    box = shown.bounding_box()
    assert box is not None
    assert 0 <= box["y"] < LECTURE["height"] - box["height"]
    size = shown.evaluate("e => parseFloat(getComputedStyle(e).fontSize) * (e.currentCSSZoom ?? 1)")
    assert size >= READABLE
    control = page.locator(".blend .control, .film .control").first.bounding_box()
    assert control is not None
    assert control["y"] + control["height"] <= LECTURE["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= LECTURE["width"]
    assert page.get_by_test_id("stCaptionContainer").locator("visible=true").count() == 0
    assert page.get_by_test_id("stTopNavLink").count() == 0
    assert page.get_by_test_id("stHeader").locator("visible=true").count() == 0
    assert violations(page) == []
    page.locator(".st-key-leave_lecture button").click()
    expect(page).not_to_have_url(re.compile("mode="), timeout=WAIT)
    expect(page.get_by_test_id("stTopNavLink").first).to_be_visible(timeout=WAIT)
    context.close()


def test_a_hidden_control_is_gone_and_still_counts(page: Page) -> None:
    visit(page, "/?hide=attack,slide&attack=FGSM&lam=1")
    robust = page.locator(".blend .readout.robust")
    expect(robust).to_contain_text("FGSM at 8/255", timeout=WAIT)
    assert page.locator(".st-key-attack, .st-key-slide").count() == 0
    expect(page.locator(".st-key-ns")).to_be_visible()
    page.locator(".st-key-ns button").filter(has_text="adversarial").click()
    expect(page).to_have_url(re.compile("ns=adversarial"), timeout=WAIT)
    wait_idle(page, 90)
    expect(robust).to_contain_text("FGSM at 8/255")
    assert "attack=FGSM" in page.url
    assert "hide=attack" in page.url


def test_the_slider_follows_the_pointer_where_all_is_enlarged(browser: Browser, app_server: str) -> None:
    context = browser.new_context(base_url=app_server, viewport=LECTURE)  # pyright: ignore[reportArgumentType]
    page = context.new_page()
    visit(page, "/?lam=0&mode=lecture")
    page.locator(".blend .readout.robust .value").wait_for(timeout=WAIT)
    track = page.locator(".blend .control .ticks").bounding_box()
    chart = page.locator(".blend .curves").bounding_box()
    assert track is not None
    assert chart is not None
    page.mouse.click(track["x"] + 0.8 * track["width"], chart["y"] + chart["height"] / 2)
    expect(page.locator(".blend")).to_have_attribute("data-lam", "0.8", timeout=WAIT)
    context.close()
