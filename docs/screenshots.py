"""Takes all pictures in docs/screenshots/ from the running app, on built-in data only, and writes docs/gallery.md.

python -m docs.screenshots                  # nine pages in four variants, and the sixteen moments of docs/gallery.py
python -m docs.screenshots FOLDER layers    # only those with "layers" in their name, into FOLDER; no gallery.md
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

from docs.gallery import MOMENTS, caption, clip, write
from tests.browser.chromium import LAUNCH_ARGS, find_chromium, wait_idle
from tests.browser.server import serve

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "screenshots"
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
QUALITY = 65
"""Of WebP with losses, which is taken where it is smaller than without; the eye sees no difference."""
BOTTOM = """Math.ceil(Math.max(...[...document.querySelectorAll('[data-testid=stMain] *')]
    .map(e => e.getBoundingClientRect().bottom)))"""


def opened(page: Page, address: str) -> None:
    """The page with all that it draws by itself."""
    page.goto(address)
    wait_idle(page, 90)
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=60_000)
    page.wait_for_timeout(2000)
    wait_idle(page, 90)


def save(page: Page, path: Path, frame: FloatRect) -> None:
    picture = Image.open(io.BytesIO(page.screenshot(clip=frame))).convert("RGB")
    files = [io.BytesIO(), io.BytesIO()]
    picture.save(files[0], "WEBP", quality=QUALITY, method=6)
    picture.save(files[1], "WEBP", lossless=True, quality=90, method=4)
    path.write_bytes(min((file.getvalue() for file in files), key=len))


def pages(browser: Browser, url: str, target: Path, wanted: Callable[[str], bool]) -> None:
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            for name, path in PAGES.items():
                file = f"{name}-{size}-{scheme}"
                if not wanted(file):
                    continue
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                page = context.new_page()
                opened(page, url + path)
                bottom = min(height, page.evaluate(BOTTOM) + 24)
                save(page, target / f"{file}.webp", FloatRect(x=0, y=0, width=width, height=bottom))
                context.close()


def moments(browser: Browser, url: str, target: Path, wanted: Callable[[str], bool]) -> dict[str, str]:
    """The captions of those that were taken."""
    captions: dict[str, str] = {}
    for of in MOMENTS:
        if not wanted(of.name):
            continue
        width, height = of.size
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
        page = context.new_page()
        opened(page, url + of.link)
        done = of.act(page)
        page.wait_for_timeout(1000)
        captions[of.name] = caption(of, page, done)
        save(page, target / f"{of.name}.webp", clip(of, page))
        context.close()
    return captions


def main(target: Path, only: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        # No images but the built-in ones, and no results that an earlier visit has left behind.
        nowhere = {"DUAL_BN_DATA": folder, "DUAL_BN_STORE": "off"}
        with serve(ROOT / "app" / "main.py", Path(folder), nowhere) as server:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(LAUNCH_ARGS))
            captions = moments(browser, server.url, target, lambda name: only in name)
            pages(browser, server.url, target, lambda name: only in name)
            if not only:
                write(captions, ROOT / "docs" / "gallery.md")
            for name, said in captions.items():
                print(f"{name}: {said}\n")  # noqa: T201
            print(server.log()[-1500:], file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    arguments = [*sys.argv[1:], "", ""]
    main(Path(arguments[0]) if arguments[0] else PICTURES, arguments[1])
