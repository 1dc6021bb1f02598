"""The paper in a browser: a claim opens at its top, stands in the address, and the way back works."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.access import violations
from tests.browser.chromium import saved, wait_idle

TOP = "() => Math.max(...[...document.querySelectorAll('*')].map(node => node.scrollTop))"
LIST = "Which claims of the paper hold up?"


def visit(page: Page, path: str = "/paper") -> None:
    page.goto(path)
    page.get_by_role("heading", level=1).wait_for(timeout=60_000)
    wait_idle(page)


def test_a_claim_opens_at_its_top_and_the_way_back_leads_to_the_list(page: Page) -> None:
    page.set_viewport_size({"width": 1000, "height": 400})
    visit(page)
    button = page.get_by_role("button", name="Open").first
    button.scroll_into_view_if_needed()
    assert page.evaluate(TOP) > 0
    button.click()
    page.wait_for_url("**claim=E0*")
    expect(page.get_by_role("button", name="All claims")).to_be_visible()
    wait_idle(page)
    assert page.evaluate(TOP) == 0
    page.go_back()
    expect(page.get_by_role("heading", name=LIST)).to_be_visible()
    assert "claim" not in page.url


def test_choices_stand_in_the_address_and_come_from_it(page: Page) -> None:
    visit(page, "/paper?verdict=undecided")
    page.get_by_role("radio", name="all").click()
    page.wait_for_url(lambda url: "verdict" not in url)
    page.get_by_role("radio", name="CIFAR-10, ResNet-20", exact=True).click()
    page.wait_for_url("**family=cifar10-resnet20*")
    page.reload()
    wait_idle(page)
    expect(page.get_by_role("radio", name="CIFAR-10, ResNet-20", exact=True)).to_be_checked()


def test_a_table_is_drawn_once_it_is_opened_and_can_be_taken_away(page: Page) -> None:
    visit(page, "/paper?claim=E0")
    expect(page.get_by_test_id("stDataFrame")).to_have_count(0)
    page.get_by_test_id("stExpander").first.locator("summary").click()
    expect(page.get_by_test_id("stDataFrame").first).to_be_visible(timeout=30_000)
    table = saved(page.get_by_test_id("stDownloadButton").get_by_text("CSV", exact=True)).decode()
    assert table.startswith("network,branch,accuracy,value,low,high,n")


@pytest.mark.parametrize("width", [1366, 390])
@pytest.mark.parametrize("path", ["/paper", "/paper?claim=E0"])
def test_accessible_and_within_the_screen(browser: Browser, app_server: str, width: int, path: str) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(
            base_url=app_server, viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        page = context.new_page()
        visit(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page) == []
        context.close()
