"""Browser tests: pytest-playwright's `page` in a Chromium found or installed here, on the real app at `app_server`.

Usage::

    def test_title(page: Page, app_server: str) -> None:
        page.goto("/?lam=0.5")               # relative to app_server
        wait_idle(page)                       # tests.browser.chromium
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import LAUNCH_ARGS, NoChromiumError, find_chromium
from tests.browser.server import Server, ServerError, serve

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LOG_START = pytest.StashKey[int]()
SERVER = pytest.StashKey[Server]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("browser")
            # Fixtures bound their own waiting; the first one may install a browser, which takes longer than any test.
            item.add_marker(pytest.mark.timeout(120, func_only=True))


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    try:
        executable = find_chromium()
    except NoChromiumError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    return browser_type_launch_args | {"executable_path": executable, "args": list(LAUNCH_ARGS)}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return browser_context_args | {"viewport": {"width": 1400, "height": 1000}, "locale": "en-GB"}


@pytest.fixture(scope="session")
def app_main() -> Path:
    """The script that `app_server` runs."""
    return ROOT / "app" / "main.py"


@pytest.fixture(scope="session")
def app_server(
    app_main: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    """Address of the running app, without a slash at its end; one server for the whole session."""
    try:
        with serve(app_main, tmp_path_factory.mktemp("server")) as server:
            request.config.stash[SERVER] = server
            yield server.url
    except ServerError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="session")
def base_url(app_server: str) -> str:
    """What `page.goto("/...")` is relative to."""
    return app_server


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    server = item.config.stash.get(SERVER, None)
    item.stash[LOG_START] = len(server.log()) if server else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows what the server printed while it ran."""
    report = yield
    server = item.config.stash.get(SERVER, None)
    if server and report.failed and (printed := server.log()[item.stash.get(LOG_START, 0) :]):
        report.sections.append(("server log", printed))
    return report
