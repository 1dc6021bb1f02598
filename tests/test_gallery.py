"""The pictures for class: all there, of modest size, captioned with figures that are the checkpoint's own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from docs.gallery import MOMENTS, write
from docs.screenshots import PAGES, PICTURES, SIZES
from engine import api

GALLERY = (Path(__file__).parents[1] / "docs" / "gallery.md").read_text(encoding="utf-8")
CLEAN = {"kind": "reestimated", "source": "clean"}
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


def swept(affine: float, statistics: dict[str, Any], attacked: bool) -> str:
    """Percent right at a point of the sweep, read from the file as plain JSON."""
    lines = (api.checkpoint_folder("shapes-dual-bn") / "sweep.jsonl").read_text().splitlines()[1:]
    found = [
        one
        for one in map(json.loads, lines)
        if one["setting"]["affine"] == affine
        and all(one["setting"]["statistics"].get(key) == value for key, value in statistics.items())
        and (is_pgd10(one["attack"]) if attacked else one["attack"] is None)
    ]
    record = max(found, key=lambda one: one["n"])  # the plane holds the corners on fewer images
    return f"{100 * record['n_correct'] / record['n']:.1f}%"


def is_pgd10(attack: dict[str, Any] | None) -> bool:
    return attack is not None and attack["steps"] == 10 and round(255 * attack["threat"]["eps"]) == 8


@pytest.mark.parametrize(
    ("name", "affine", "statistics"),
    [("clean-end", 0.0, CLEAN), ("adversarial-end", 1.0, CLEAN), ("half-way", 0.5, CLEAN), ("hand-out", 0.7, CLEAN),
     ("swap-statistics", 0.0, {"kind": "stored", "lam": 1.0})],
)  # fmt: skip
def test_the_captions_figures_are_those_of_the_sweep(name: str, affine: float, statistics: dict[str, Any]) -> None:
    assert swept(affine, statistics, True) in said(name)
    if name != "hand-out":
        assert swept(affine, statistics, False) in said(name)


def test_the_claims_on_the_pictures_have_the_verdicts_on_file() -> None:
    """Their titles say whether a claim passed; retrained networks may want another claim in that place."""
    for name, verdict in (("claim-holds", "holds"), ("claim-fails", "fails")):
        (of,) = [one for one in MOMENTS if one.name == name]
        claim = of.link.split("=")[1]
        finding = json.loads((api.CHECKPOINTS / "paper" / "shapes" / f"{claim}.json").read_text())
        assert finding["verdict"] == verdict
        assert f"**{verdict}**" in said(name)
        assert finding["claim"] in said(name)


def test_the_page_is_what_the_script_writes(tmp_path: Path) -> None:
    """Titles, links and order; the captions are taken from the page itself."""
    captions = {of.name: said(of.name).split("\n\n")[2] for of in MOMENTS}
    write(captions, tmp_path / "gallery.md")
    assert (tmp_path / "gallery.md").read_text(encoding="utf-8") == GALLERY
