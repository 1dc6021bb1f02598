"""The film on the Attack page: plays, pauses, scrubs, and everything follows."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.chromium import wait_idle

RANGE = ".film input[type=range]"


def visit(page: Page, path: str = "/attack?steps=10") -> None:
    page.goto(path)
    page.locator(RANGE).wait_for(timeout=60_000)
    wait_idle(page)


def frame(page: Page) -> int:
    return int(page.locator(".film").get_attribute("data-frame") or -1)


def test_the_film_opens_on_its_last_frame_and_scrubs_from_the_keyboard(page: Page) -> None:
    visit(page)
    assert frame(page) == 11
    last = page.locator(".film .verdict").all_inner_texts()
    page.locator(RANGE).focus()
    page.keyboard.press("Home")
    expect(page.locator(".film [data-part=frame]")).to_have_text("the image")
    first = page.locator(".film .verdict").all_inner_texts()
    assert first != last
    assert all(text.startswith("✓ star") for text in first)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".film [data-part=frame]")).to_have_text("random start")


def test_the_film_plays_to_its_end_and_can_be_paused(page: Page) -> None:
    visit(page, "/attack?steps=50")
    page.get_by_role("button", name="Play the attack").click()
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Pause the attack").click()
    paused = frame(page)
    assert 0 < paused < 51
    page.wait_for_timeout(300)
    assert frame(page) == paused
    page.get_by_role("button", name="Play the attack").click()
    expect(page.locator(".film")).to_have_attribute("data-frame", "51", timeout=10_000)
    assert "step 50 of 50" in page.locator(".film [data-part=live]").inner_text()


def test_controls_stand_in_the_url_and_change_the_film(page: Page) -> None:
    visit(page)
    before = page.locator(".film .tile").first.evaluate("node => getComputedStyle(node).backgroundImage")
    page.get_by_test_id("stSlider").first.locator("input").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**left=0.05*")
    wait_idle(page)
    expect(page.locator(".film h3").first).to_have_text("λ = 0.05")
    assert page.locator(".film .tile").first.evaluate("node => getComputedStyle(node).backgroundImage") != before
