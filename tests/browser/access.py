"""What axe-core holds against a page, once the page rests.

Usage::

    assert violations(page) == []
"""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.chromium import wait_idle

STREAMLITS_OWN = {"empty-table-header", "svg-img-alt"}
TRIES = 4


def violations(page: Page) -> list[str]:
    """Serious and critical findings, each with the first elements it names; what Streamlit draws itself is left out.

    Streamlit fades what a run is about to replace, and its fading fails the contrast rule; so a page is asked again
    for a few seconds, and only what stays is a finding.
    """
    found: list[str] = []
    for _ in range(TRIES):
        wait_idle(page, timeout_seconds=90)
        found = findings(page)
        if not found:
            break
        page.wait_for_timeout(1000)
    return found


def findings(page: Page) -> list[str]:
    """The same of a page as it stands, Streamlit's or not."""
    return [
        f"{rule['id']}: {', '.join(str(node['target']) for node in rule['nodes'][:3])}"
        for rule in Axe().run(page).response["violations"]
        if rule["impact"] in ("serious", "critical") and rule["id"] not in STREAMLITS_OWN
    ]
