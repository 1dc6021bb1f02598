"""Takes the pictures in docs/screenshots/ from the running app, on built-in data only: python docs/screenshots.py."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import FloatRect, sync_playwright  # noqa: E402

from tests.browser.chromium import LAUNCH_ARGS, find_chromium, wait_idle  # noqa: E402
from tests.browser.server import serve  # noqa: E402

SIZES = {"desktop": (1366, 3100), "phone": (390, 5600)}
PAGES = {
    "explore": "/?lam=0.7",
    "tour": "/tour?step=5",
    "compare": "/compare",
    "layers": "/layers?hold=true",
    "attack": "/attack",
    "attribution": "/attribution",
    "image": "/image",
    "paper": "/paper",
    "models": "/models",
}


def main(target: Path, only: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(ROOT / "app" / "main.py", Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(LAUNCH_ARGS))
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                for name, path in PAGES.items():
                    if only not in f"{name}-{size}-{scheme}":
                        continue
                    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                    page = context.new_page()
                    page.goto(server.url + path)
                    wait_idle(page)
                    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=60_000)
                    page.wait_for_timeout(2000)
                    bottom = page.evaluate(
                        "Math.ceil(Math.max(...[...document.querySelectorAll('[data-testid=stMain] *')]"
                        ".map(e => e.getBoundingClientRect().bottom)))"
                    )
                    clip = FloatRect(x=0, y=0, width=width, height=min(height, bottom + 24))
                    page.screenshot(path=target / f"{name}-{size}-{scheme}.png", clip=clip)
                    context.close()
        print(server.log()[-1500:], file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    arguments = [*sys.argv[1:], "", ""]
    main(Path(arguments[0] or ROOT / "docs" / "screenshots"), arguments[1])
