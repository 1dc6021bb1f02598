"""What is taken away, in a real browser: every format from Explore, and the hand-out reopened without a network."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.access import findings, violations
from tests.browser.chromium import saved, wait_idle
from tests.browser.test_drag import HANDLE, drag, lam, visit

LOCAL = ("file:", "blob:", "data:")
ROBUST = ".blend .robust [data-part=value]"


def opened(page: Page) -> None:
    """Opens the tray; a run that was under way may close it again."""
    button = page.get_by_test_id("stPopoverButton").filter(has_text="Take away")
    button.wait_for(timeout=60_000)
    wait_idle(page, 90)
    button.click()
    expect(page.get_by_role("button", name="PDF", exact=True)).to_be_visible(timeout=60_000)


def taken(page: Page, name: str) -> bytes:
    """The file behind a button of the tray."""
    return saved(page.get_by_test_id("stDownloadButton").get_by_role("button", name=name, exact=True))


def test_every_format_is_taken_from_explore(page: Page) -> None:
    visit(page, "/?lam=0.5")
    opened(page)
    with Image.open(io.BytesIO(taken(page, "PNG"))) as picture:
        assert picture.format == "PNG"
    assert b"Source: Dual-BN Explorer" in taken(page, "SVG")
    assert taken(page, "PDF").startswith(b"%PDF")
    assert taken(page, "CSV").startswith(b"lambda,curve,accuracy,low,high,n,")
    settings = json.loads(taken(page, "Settings (JSON)"))
    assert (settings["lambda"], settings["selection"]["checkpoint"]) == (0.5, "shapes-dual-bn")
    expect(page.get_by_test_id("stCode").filter(has_text="api.open_bench")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_moment_is_taken_with_its_images(browser: Browser, app_server: str, scheme: Any) -> None:
    context = browser.new_context(base_url=app_server, color_scheme=scheme)
    page = context.new_page()
    visit(page, "/?lam=1")
    files = {kind: saved(page.get_by_role("button", name=f"This moment as {kind}")) for kind in ("PNG", "SVG")}
    root = ElementTree.fromstring(files["SVG"])
    said = " ".join(" ".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text"))
    for part in ("λ = 1.00", "PGD-10 at 8/255", "seed 0", "Source: Dual-BN Explorer", "Difference × 16"):
        assert part in said
    assert page.locator(ROBUST).inner_text() in said
    assert len(list(root.iter("{http://www.w3.org/2000/svg}image"))) == 3 * 8
    assert b"Inter Figure';font-weight:400;src:url(data:" in files["SVG"]
    with Image.open(io.BytesIO(files["PNG"])) as picture:
        assert picture.size == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
        corner = picture.convert("L").getpixel((2, 2))
        assert isinstance(corner, int)
        assert (corner < 60) == (scheme == "dark")
    context.close()


def test_the_hand_out_works_without_a_network_and_prints_on_one_page(
    page: Page, browser: Browser, tmp_path: Path
) -> None:
    visit(page, "/?lam=0.2")
    before = page.locator(ROBUST).inner_text()
    opened(page)
    file = tmp_path / "handout.html"
    file.write_bytes(taken(page, "Hand-out (HTML)"))
    for width in (1366, 390):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark")
        context.set_offline(True)
        sheet = context.new_page()
        wrong: list[str] = []
        sheet.on("pageerror", lambda error, to=wrong: to.append(str(error)))
        sheet.on("console", lambda said, to=wrong: to.append(said.text) if said.type == "error" else None)
        sheet.on("request", lambda asked, to=wrong: None if asked.url.startswith(LOCAL) else to.append(asked.url))
        sheet.goto(file.as_uri())
        expect(sheet.locator(".blend .tile").first).to_be_visible(timeout=60_000)
        assert sheet.locator(ROBUST).inner_text() == before
        sheet.locator(HANDLE).scroll_into_view_if_needed()
        drag(sheet, 0.2, 1)
        sheet.mouse.up()
        assert lam(sheet) == 1
        assert float(sheet.locator(ROBUST).inner_text().rstrip("%")) > float(before.rstrip("%")) + 30
        assert sheet.evaluate("document.documentElement.scrollWidth") <= width
        assert findings(sheet) == []
        assert wrong == []
        assert sheet.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") == 1
        context.close()
