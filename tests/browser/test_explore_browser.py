"""Explore in a real browser: the drag needs no server, everything can be done by keyboard, and the address keeps all."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from engine import api
from tests.browser.explorer import HANDLE, ROOT, holding, lam, listen, metric, pull, query, settled, shown, visit

pytestmark = pytest.mark.usefixtures("_warm")


@pytest.fixture(scope="module")
def _warm(browser: Browser, app_server: str) -> None:
    """The first visit loads the network; no test shall wait for it."""
    page = browser.new_page(base_url=app_server)
    visit(page, "/")
    page.close()


def figure(checkpoint: str, line: str, at: float, attack: api.PGD | None) -> str:
    """A shipped accuracy, as a number card shows it."""
    folder = api.checkpoint_folder(checkpoint)
    setting = api.canonical(api.LINES[line](at), api.load_card(folder).norm_design)
    records = [r for r in api.load_sweep(folder / "sweep.jsonl", {}) if (r.setting, r.attack) == (setting, attack)]
    return f"{100 * max(records, key=lambda record: record.n).interval.value:.1f} %"


PGD10 = api.pgd(10, api.MAIN_EPS)

# --- dragging ---------------------------------------------------------------------------------------------------------


def test_a_drag_moves_everything_by_itself_and_is_told_once(page: Page) -> None:
    sent = listen(page)
    visit(page, "/?lam=0.1")
    before = shown(page)
    sent.clear()
    with holding(page, 0.1):
        seen: list[float] = []
        for to in (0.3, 0.5, 0.7, 0.9):
            pull(page, to)
            seen.append(lam(page))
        page.wait_for_timeout(600)  # longer than any pause after which the component might speak
        assert seen == pytest.approx([0.3, 0.5, 0.7, 0.9])
        assert sent == []
        during = shown(page)
    settled(page, lam="0.9")
    assert len(sent) == 1
    assert {key for key in before if before[key] == during[key]} == {"original"}
    assert metric(page, "Clean accuracy") == figure("shapes-dual-bn", "ap@clean", 0.9, None)
    assert metric(page, "Robust accuracy") == figure("shapes-dual-bn", "ap@clean", 0.9, PGD10)


def test_a_drag_there_and_back_tells_nothing(page: Page) -> None:
    sent = listen(page)
    visit(page, "/?lam=0.5")
    before = shown(page)
    sent.clear()
    with holding(page, 0.5):
        pull(page, 0.9)
        assert shown(page) != before
        pull(page, 0.5)
    page.wait_for_timeout(600)
    assert shown(page) == before
    assert sent == []


def test_the_curves_can_be_dragged_too(page: Page) -> None:
    visit(page, "/?lam=0.5")
    box = page.locator(f"{ROOT} .curves .target").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, y, steps=5)
    assert lam(page) == 1
    page.mouse.up()
    settled(page, lam="1")


def test_keys(page: Page) -> None:
    sent = listen(page)
    visit(page, "/?lam=0.5")
    sent.clear()
    handle = page.locator(HANDLE)
    handle.focus()
    steps = (
        ("ArrowRight", 0.55),
        ("ArrowUp", 0.6),
        ("ArrowLeft", 0.55),
        ("ArrowDown", 0.5),
        ("PageUp", 0.6),
        ("PageDown", 0.5),
        ("End", 1.0),
        ("ArrowRight", 1.0),
        ("Home", 0.0),
        ("PageDown", 0.0),
        ("PageUp", 0.1),
    )
    for key, wanted in steps:
        page.keyboard.press(key)
        assert lam(page) == pytest.approx(wanted), key
    settled(page, lam="0.1")
    assert handle.get_attribute("aria-valuetext") == "λ 0.10"
    expect(page.locator(f"{ROOT} [data-part=live]")).to_have_text(re.compile(r"λ 0\.10: clean accuracy .*, robust"))
    assert len(sent) <= 2  # keys at rest: one message, or two where this machine paused between two of them


def test_play_sweeps_without_the_server_and_pause_tells_where(page: Page) -> None:
    sent = listen(page)
    visit(page, "/?lam=0.8")
    sent.clear()
    play = page.get_by_role("button", name="Play: sweep λ from 0 to 1")
    play.click()
    page.wait_for_function("root => Number(root.dataset.lam) < 0.5", arg=page.locator(ROOT).element_handle())
    page.wait_for_function("root => Number(root.dataset.lam) > 0.2", arg=page.locator(ROOT).element_handle())
    assert sent == []
    page.get_by_role("button", name="Pause the sweep").click()
    at = lam(page)
    settled(page, lam=f"{at:g}")
    expect(play).to_be_visible()
    assert len(sent) == 1
    play.click()  # goes on from there
    page.wait_for_function("root => root.dataset.lam === '1'", arg=page.locator(ROOT).element_handle())
    settled(page, lam="1")


# --- links ------------------------------------------------------------------------------------------------------------


def test_a_reload_restores_slider_image_layer_and_controls(page: Page) -> None:
    visit(page, "/?attack=FGSM&slide=statistics&ap=clean&lam=0.4")
    page.locator(HANDLE).press("PageUp")
    page.locator(f"{ROOT} .column").nth(5).click()
    page.locator(f"{ROOT} .layer").nth(2).click()
    settled(page, lam="0.5", image="5")
    page.wait_for_function("new URLSearchParams(location.search).has('layer')")
    before, address = shown(page), query(page)
    page.reload()
    page.locator(HANDLE).wait_for()
    settled(page, lam="0.5", image="5")
    assert query(page) == address
    assert address.items() >= {"attack": "FGSM", "slide": "statistics", "ap": "clean", "lam": "0.5"}.items()
    expect(page.locator(f"{ROOT} .column").nth(5)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(f"{ROOT} .layer").nth(2)).to_have_attribute("aria-pressed", "true")
    assert shown(page) == before


def test_another_page_and_back(page: Page) -> None:
    visit(page, "/?lam=0.2")
    page.locator(HANDLE).press("End")
    settled(page, lam="1")
    page.get_by_role("link", name="Models and data").click()
    expect(page.get_by_role("heading", name="What was trained, and on what?")).to_be_visible()
    page.get_by_role("link", name="Explore").click()
    expect(page.locator(ROOT)).to_have_attribute("data-lam", "1")
    settled(page, lam="1")


def test_a_deep_link_opens_the_other_page(page: Page) -> None:
    page.goto("/about?card=shapes-dual-ap")
    expect(page.get_by_role("heading", name="What was trained, and on what?")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("combobox", name="Card")).to_have_value("shapes-dual-ap")


def test_a_stale_link_says_so_once(page: Page) -> None:
    visit(page, "/?model=gone&lam=banana")
    toast = page.locator("[data-testid=stToast]")
    expect(toast).to_have_count(1)
    expect(toast).to_contain_text("(model, lam)")
    assert lam(page) == 0.5


# --- images, layers, presets, plane -----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["click", "Enter", "Space"])
def test_pinning_an_image(page: Page, by: str) -> None:
    sent = listen(page)
    visit(page, "/")
    column = page.locator(f"{ROOT} .column").nth(4)
    sent.clear()
    if by == "click":
        column.click()
    else:
        column.press(by)
    settled(page, image="4")
    assert len(sent) == 1
    pressed = page.locator(f"{ROOT} .column[aria-pressed=true]")
    expect(pressed).to_have_count(1)
    expect(pressed).to_have_attribute("aria-label", re.compile(r"^Image 5, true class \w+\. original: predicted \w+, "))
    expect(page.locator("table tbody tr").nth(4)).to_contain_text("(pinned)")


def test_a_layer_opens_its_channels_and_closes_again(page: Page) -> None:
    visit(page, "/")
    bar = page.locator(f"{ROOT} .layer").nth(1)
    bar.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_function("new URLSearchParams(location.search).has('layer')")
    expect(page.get_by_role("heading", name=f"Layer {query(page)['layer']}, channel by channel")).to_be_visible()
    page.keyboard.press("Enter")
    page.wait_for_function("!new URLSearchParams(location.search).has('layer')")


def test_a_preset_moves_controls_and_slider_and_says_what_to_check(page: Page) -> None:
    visit(page, "/?lam=0.2")
    page.get_by_role("button", name="Presets").click()
    page.get_by_role("button", name="Swap only the statistics").click()
    expect(page.locator(ROOT)).to_have_attribute("data-lam", "1")
    settled(page, lam="1", slide="statistics", ap="clean")
    expect(page.get_by_text("Claim: statistics do not carry the robustness.").last).to_be_visible()
    assert metric(page, "Robust accuracy") == figure("shapes-dual-bn", "ns@0", 1.0, PGD10)


def test_a_click_on_the_plane_goes_there(page: Page) -> None:
    visit(page, "/?slide=statistics")
    page.locator(
        "[aria-label^='Heatmap of robust'] [aria-label^='λ of AP: clean → adversarial: 0; λ of NS: 1;']"
    ).click()
    settled(page, lam="0", ns="adversarial")
    expect(page.locator(ROOT)).to_have_attribute("data-lam", "0")
    assert "slide" not in query(page)  # back to the default
    assert metric(page, "Robust accuracy") == figure("shapes-dual-bn", "ap@stored:1", 0.0, PGD10)


# --- two visitors -----------------------------------------------------------------------------------------------------


def test_two_visitors_keep_their_own_numbers(page: Page, browser: Browser, app_server: str) -> None:
    other = browser.new_context(base_url=app_server).new_page()
    visit(page, "/?lam=0.2&ns=adversarial")
    visit(other, "/?model=shapes-dual-ap&attack=FGSM&lam=1")
    fgsm = api.fgsm(api.ThreatModel("Linf", api.MAIN_EPS))
    for key, mine, theirs in (("ArrowRight", 0.25, 0.0), ("PageUp", 0.35, 0.1), ("End", 1.0, 0.2)):
        page.locator(HANDLE).press(key)
        other.locator(HANDLE).press("Home" if theirs == 0 else "PageUp")
        settled(page, lam=f"{mine:g}")
        settled(other, lam=f"{theirs:g}")
        assert metric(page, "Robust accuracy") == figure("shapes-dual-bn", "ap@stored:1", mine, PGD10)
        assert metric(other, "Robust accuracy") == figure("shapes-dual-ap", "ap@clean", theirs, fgsm)
    assert (query(page)["ns"], query(other)["attack"]) == ("adversarial", "FGSM")
    other.context.close()
