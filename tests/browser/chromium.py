"""What a browser test needs of a browser: an executable, the flags it runs with, and how to tell that the app is idle.

Usage::

    browser = playwright.chromium.launch(executable_path=find_chromium(), args=LAUNCH_ARGS)
    page.goto(url)
    wait_idle(page)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: tests run as root in containers. The others keep Chromium from looking for hosts outside the machine.
LAUNCH_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
NOT_FOUND = (
    "No Chromium for the browser tests: none is on the PATH and neither Debian's package nor Playwright's own could be "
    "installed; install one of " + ", ".join(NAMES) + ', or leave these tests out with -m "not browser and not slow".'
)
INSTALL_SECONDS = 600


class NoChromiumError(RuntimeError):
    """No Chromium was found and none could be installed; the message says what to do."""


def find_chromium() -> Path:
    """The one on the PATH, else Debian's, else Playwright's, installed where needed. Raises NoChromiumError."""
    ways: tuple[Callable[[], Path | None], ...] = (_on_path, _from_apt, _from_playwright)
    for way in ways:
        found = way()
        if found:
            return found
    raise NoChromiumError(NOT_FOUND)


def _on_path() -> Path | None:
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


def _from_apt() -> Path | None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    _succeeds(["apt-get", "update"], environment)  # a failure here need not matter: the lists may be recent
    _succeeds(["apt-get", "install", "-y", "--no-install-recommends", "chromium"], environment)
    return _on_path()


def _from_playwright() -> Path | None:
    if not _succeeds([sys.executable, "-m", "playwright", "install", "chromium"], os.environ):
        return None
    # In a process of its own: Playwright's synchronous interface cannot be started twice in one thread.
    code = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    path = Path(answer.stdout.strip())
    return path if path.is_file() else None


def _succeeds(command: list[str], environment: os._Environ[str] | dict[str, str]) -> bool:
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def wait_idle(page: Page, timeout_seconds: float = 30, settle_seconds: float = 0.25) -> None:
    """Waits until the app is connected and no script has run for `settle_seconds`.

    Directly after an event the app still counts as idle, because the run that it starts has not been reported yet;
    the pause covers that.
    """
    page.wait_for_selector(
        "[data-testid=stApp][data-test-script-state=notRunning][data-test-connection-state=CONNECTED]",
        state="attached",
        timeout=timeout_seconds * 1000,
    )
    page.evaluate("() => { window.idleSince = performance.now(); }")
    page.wait_for_function(
        """settle => {
            const app = document.querySelector('[data-testid=stApp]');
            const idle = app?.dataset.testScriptState === 'notRunning'
                && app.dataset.testConnectionState === 'CONNECTED';
            if (!idle) window.idleSince = performance.now();
            return performance.now() - window.idleSince >= settle;
        }""",
        arg=settle_seconds * 1000,
        timeout=timeout_seconds * 1000,
    )


def saved(button: Locator) -> bytes:
    """The file that a button gives, once the app is idle: a run that ends meanwhile renames the files it offers."""
    wait_idle(button.page)
    with button.page.expect_download(timeout=60_000) as download:
        button.click()
    return download.value.path().read_bytes()
