"""The film on the Attack page: plays, pauses, scrubs, and everything follows."""

from __future__ import annotations

import csv
import re

from playwright.sync_api import Page, expect

from tests.browser.chromium import saved, wait_idle

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


SHOWN = """film => [
  film.innerText,
  ...[...film.querySelectorAll('.tile')].map(tile => getComputedStyle(tile).backgroundImage),
  ...[...film.querySelectorAll('.bar')].map(bar => getComputedStyle(bar).backgroundSize),
  ...[...film.querySelectorAll('.chart path')].map(path => path.getAttribute('d')),
]"""


def test_a_film_that_was_moved_to_is_the_film_of_its_link(page: Page) -> None:
    visit(page)
    film = page.locator(".film")
    truth = film.locator(".truth .name").first
    before = truth.inner_text()
    image = page.get_by_role("spinbutton", name="Image")
    image.fill("1")
    image.press("Enter")
    expect(truth).not_to_have_text(before, timeout=30_000)
    wait_idle(page)
    film.locator(".pane").first.evaluate("pane => { pane.mark = 'kept'; }")
    page.get_by_test_id("stSlider").first.locator("input").focus()
    page.keyboard.press("ArrowRight")
    expect(film.locator("h3").first).to_have_text("λ = 0.05", timeout=30_000)
    wait_idle(page)
    assert film.locator(".pane").first.evaluate("pane => pane.mark") == "kept"
    moved = film.evaluate(SHOWN)
    page.reload()
    page.locator(RANGE).wait_for(timeout=60_000)
    wait_idle(page)
    assert film.evaluate(SHOWN) == moved


def test_model_and_attack_are_chosen_on_the_page(page: Page) -> None:
    visit(page)
    page.get_by_role("radio", name="FGSM").or_(page.get_by_role("button", name="FGSM")).first.click()
    page.wait_for_url("**method=FGSM*")
    expect(page.locator(".film [data-part=frame]")).to_have_text("step 1 of 1", timeout=30_000)
    wait_idle(page)  # a run that ends would close the list again
    page.get_by_role("combobox", name="Checkpoint").click()
    page.get_by_role("option", name="shapes-single", exact=True).click()
    page.wait_for_url("**model=shapes-single*")
    expect(page.get_by_text("nothing to move")).to_be_visible(timeout=30_000)


def test_a_figure_is_cancelled_and_computed_and_downloaded(page: Page) -> None:
    visit(page, "/attack?steps=8&look=Distances&ns=clean")
    compute = page.get_by_role("button", name=re.compile("Compute on"))
    compute.click()
    page.get_by_role("button", name="Cancel").click()
    expect(compute).to_be_visible(timeout=30_000)
    expect(page.get_by_role("progressbar")).to_have_count(0)
    compute.click()
    page.get_by_role("button", name="Check a number").click(timeout=90_000)
    expect(page.get_by_text("python -m engine evaluate shapes-dual-bn --n 64")).to_be_visible()
    page.keyboard.press("Escape")
    table = saved(page.get_by_role("button", name="Data (CSV)").last).decode()
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["image"] for row in rows] == [str(index) for index in range(64)] * 2
    assert all(float(row["smallest_eps_255"]) >= 0 for row in rows)


def test_a_link_with_nonsense_still_opens(page: Page) -> None:
    page.goto("/attack?steps=999&picture=9999&left=7&eps=abc&loss=x&model=nope")
    expect(page.get_by_test_id("stToast")).to_contain_text("asks for something that is not here", timeout=60_000)
    page.locator(RANGE).wait_for(timeout=60_000)
    expect(page.get_by_test_id("stException")).to_have_count(0)
