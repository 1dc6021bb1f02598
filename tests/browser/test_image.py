"""The Your image page in a browser: a picture is uploaded, pasted or drawn, named, attacked; garbage is a sentence."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.browser.access import violations
from tests.browser.chromium import wait_idle

FILM = ".film input[type=range]"
LONG = 60_000


def visit(page: Page, path: str = "/image?steps=5") -> None:
    page.goto(path)
    page.get_by_role("heading", name="What does the network make of your picture?").wait_for(timeout=LONG)
    wait_idle(page, 60)


def disc() -> bytes:
    """A PNG of a light disc on blue-grey, wider than high."""
    rows, columns = np.mgrid[:240, :320]
    inside = np.hypot(rows - 120, columns - 160) < 70
    pixels = np.where(inside[..., None], (235, 220, 190), (90, 110, 125)).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def upload(page: Page, name: str, content: bytes) -> None:
    page.locator("input[type=file]").set_input_files(FilePayload(name=name, mimeType="image/png", buffer=content))


def answers(page: Page) -> Any:
    return page.get_by_test_id("stMetricValue")


def test_garbage_is_one_sentence_and_the_page_goes_on(page: Page) -> None:
    visit(page, "/image?steps=5&from=file")
    upload(page, "holiday.png", b"This is not a picture at all.")
    expect(page.get_by_text("This is text, not a PNG, JPEG or WebP picture")).to_be_visible(timeout=LONG)
    expect(page.locator(FILM)).to_have_count(0)
    upload(page, "holiday.png", disc())
    expect(answers(page)).to_have_text(["disc", "disc"], timeout=LONG)


def test_an_uploaded_picture_is_named_and_attacked(page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    visit(page, "/image?steps=5&from=file")
    upload(page, "<img src=x onerror=alert(1)>.png", disc())
    page.locator(FILM).wait_for(timeout=LONG)
    expect(page.locator(".film .verdict").first).to_contain_text("✗", timeout=LONG)  # the clean branch gives way
    expect(page.locator("img[src=x]")).to_have_count(0)
    page.locator(FILM).focus()
    page.keyboard.press("Home")
    expect(page.locator(".film .verdict").first).to_contain_text("✓ disc")
    assert errors == []


def test_what_is_drawn_is_named_can_be_undone_and_is_there_on_return(page: Page) -> None:
    visit(page)
    expect(answers(page)).to_have_text(["star", "star"], timeout=LONG)
    page.get_by_role("button", name="Clear").click()
    box = page.locator(".pad canvas").bounding_box()
    assert box is not None
    across, down = (lambda x: box["x"] + x * box["width"]), (lambda y: box["y"] + y * box["height"])
    page.mouse.move(across(0.18), down(0.5))
    page.mouse.down()
    page.mouse.move(across(0.82), down(0.5), steps=6)
    page.mouse.up()
    expect(answers(page)).to_have_text(["bar", "bar"], timeout=LONG)
    wait_idle(page, 60)
    page.get_by_role("link", name="Words").click()
    page.get_by_role("heading", name="What the words mean").wait_for(timeout=LONG)
    page.get_by_role("link", name="Your image").click()
    expect(answers(page)).to_have_text(["bar", "bar"], timeout=LONG)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_a_ready_shape_is_put_there_by_the_keyboard_alone(page: Page) -> None:
    visit(page)
    page.locator(".pad select").focus()
    page.keyboard.type("heart")
    expect(page.locator(".pad [data-part=live]")).to_have_text("A heart is on the pad")
    expect(answers(page)).to_have_text(["heart", "heart"], timeout=LONG)


PASTE = """([bytes, text]) => {
    const data = new DataTransfer();
    if (text) data.setData("text/plain", text);
    else data.items.add(new File([Uint8Array.from(bytes)], "a.png", { type: "image/png" }));
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


def test_a_pasted_address_is_told_and_a_pasted_picture_is_used(page: Page) -> None:
    visit(page, "/image?steps=5&from=clipboard")
    page.get_by_role("button", name="Paste a picture").wait_for(timeout=LONG)
    page.evaluate(PASTE, [[], "https://example.org/cat.png"])
    expect(page.get_by_text("This is a web address")).to_be_visible(timeout=LONG)
    wait_idle(page, 60)
    page.evaluate(PASTE, [list(disc()), ""])
    expect(answers(page)).to_have_text(["disc", "disc"], timeout=LONG)


@pytest.mark.parametrize(("width", "scheme"), [(1366, "light"), (1366, "dark"), (390, "light"), (390, "dark")])
def test_accessible_and_within_the_screen(browser: Browser, app_server: str, width: int, scheme: Any) -> None:
    context = browser.new_context(base_url=app_server, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    visit(page)
    page.locator(FILM).wait_for(timeout=LONG)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
    page.get_by_text(re.compile("^file$")).first.click()
    page.locator("input[type=file]").wait_for(state="attached", timeout=LONG)
    upload(page, "a.png", disc())
    expect(answers(page)).to_have_text(["disc", "disc"], timeout=LONG)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
    context.close()
