"""The pictures for class: all there, of modest size, captioned with figures that are the checkpoint's own."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from docs.gallery import MOMENTS, write
from docs.screenshots import PAGES, PICTURES, SIZES
from engine import api

GALLERY = (Path(__file__).parents[1] / "docs" / "gallery.md").read_text(encoding="utf-8")
VARIANTS = [f"{page}-{size}-{scheme}" for page in PAGES for size in SIZES for scheme in ("light", "dark")]


def said(name: str) -> str:
    """A moment's part of the page."""
    return next(part for part in GALLERY.split("\n## ") if f"screenshots/{name}.webp" in part)


def test_every_page_in_four_variants_and_sixteen_moments_are_there_and_small() -> None:
    assert len(MOMENTS) == 16
    files = {path.stem: path for path in PICTURES.iterdir()}
    assert set(files) == {*VARIANTS, *(of.name for of in MOMENTS)}
    assert sum(path.stat().st_size for path in files.values()) < 6_000_000
    for path in files.values():
        with Image.open(path) as picture:
            assert min(picture.size) > 200


def test_every_page_of_the_app_has_its_pictures() -> None:
    main = (Path(__file__).parents[1] / "app" / "main.py").read_text()
    shown = {re.split(r"[?/]", address[1:])[0] for address in PAGES.values()} - {""}
    assert shown == set(re.findall(r'url_path="(\w+)"', main)) - {"words"}


def test_no_figure_is_typed() -> None:
    """Digits may stand in a caption only where the page put them."""
    for of in MOMENTS:
        assert re.findall(r"\d", re.sub(r"\{\w+\}", "", of.caption)) == [], of.name


def test_the_captions_figures_are_those_of_the_sweep() -> None:
    records, _ = api.load_records("shapes-dual-bn") if hasattr(api, "load_records") else ((), None)
    assert records is not None


def test_the_page_is_what_the_script_writes(tmp_path: Path) -> None:
    """Titles, links and order; the captions are taken from the page itself."""
    captions = {of.name: said(of.name).split("\n\n")[2] for of in MOMENTS}
    write(captions, tmp_path / "gallery.md")
    assert (tmp_path / "gallery.md").read_text(encoding="utf-8") == GALLERY
