"""What is taken away: files that are what they claim, data and settings that are the page's, code that makes them."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from PIL import Image, ImageFont
from streamlit.testing.v1 import AppTest

from app import cache
from app.attack import films
from app.charts.attacks import curve_chart
from app.explore import demand
from app.explore.payload import build, sources
from app.explore.taken import about, curve_rows, handout
from app.layers import measures
from app.layers.measures import Question
from app.selection import Selection
from app.shown import Shown
from app.takeaway.code import curve_code, film_code, gaps_code, source
from app.takeaway.figure import FONTS, Figure, drawn, source_line, table
from app.takeaway.handout import page
from app.takeaway.tray import FIGURES, configuration
from engine import api
from tests.app.conftest import ATTACK, PAIR, Explorer
from tests.app.world import MAIN, N, n_correct

SVG = "{http://www.w3.org/2000/svg}"
CAPTION = "n = 1,000 images & more · 95 % Wilson · seed 0 · weights <12345678> · python -m engine sweep " + MAIN
COLOURS = {"clean": "#1b8ea3", "robust": "#e0681f"}
ROWS = pd.DataFrame(
    {"lambda": lam, "curve": name, "accuracy": 50.0 + 10 * lam, "low": 45.0, "high": 62.0, "n": 1000, "attack": "none",
     "command": "", "weights": ""}
    for name in COLOURS for lam in (0.0, 0.5, 1.0)
)  # fmt: skip


@pytest.fixture
def figure() -> Figure:
    return Figure("Accuracy over λ", CAPTION, lambda: [("", curve_chart(ROWS, "lambda", "λ", COLOURS, 0.5))])


def words(svg: bytes) -> str:
    """All text in an SVG, line breaks as spaces."""
    texts = [" ".join("".join(text.itertext()).split()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    return "\n".join(texts).replace("\u00a0", " ")


# --- files ------------------------------------------------------------------------------------------------------------


def test_svg_has_caption_settings_axes_and_curves_and_asks_for_nothing(figure: Figure) -> None:
    content = drawn(figure, "dual BN; λ = 0.50\nSource: here", "svg")
    said = words(content)
    for part in (
        "Accuracy over λ",
        CAPTION.replace(" %", "\u00a0%"),
        "dual BN; λ = 0.50 Source: here",
        "still right, %",
    ):
        assert part.replace("\u00a0", " ") in said.replace("\u00a0", " ")
    paths = [node.get("d", "") for node in ElementTree.fromstring(content).iter(f"{SVG}path")]
    strokes = [node.get("stroke") for node in ElementTree.fromstring(content).iter(f"{SVG}path")]
    assert all(any(c == colour for c in strokes) for colour in COLOURS.values()), "the curves are missing"
    assert max(map(len, paths)) > 20
    assert re.findall(rb'(?:href="|url\()(?!#|data:|p\d)[^")]*', content) == []


def test_png_has_two_pixels_a_point_and_pdf_one_page(figure: Figure) -> None:
    root = ElementTree.fromstring(drawn(figure, "", "svg"))
    with Image.open(io.BytesIO(drawn(figure, "", "png"))) as picture:
        assert picture.size == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
        colours = {colour for _, colour in picture.getcolors(1 << 20) or []}
        assert {(0x1B, 0x8E, 0xA3, 255), (0xE0, 0x68, 0x1F, 255)} <= colours  # both curves
    pdf = drawn(figure, "", "pdf")
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 1
    assert b"InterFigure" in pdf  # the typeface that comes with us, not whatever this machine has


def test_no_letter_of_the_pages_is_missing_from_the_typeface() -> None:
    font = ImageFont.truetype(FONTS / "InterFigure-Regular.ttf", 20)
    mask: Any = font.getmask
    nothing = bytes(mask("\U0010ffff"))
    missing = [c for c in "λγβσμε²½×±≤≥→←·–−✓✗°’“”…∞" if bytes(mask(c)) == nothing]
    assert missing == []


def test_pictures_and_several_plots_stand_side_by_side() -> None:
    content = io.BytesIO()
    Image.new("RGB", (4, 2), "red").save(content, "PNG")
    x, y = ({"field": name, "type": "quantitative"} for name in ("lambda", "low"))
    data = {"values": ROWS.to_dict("records")}
    chart = {"data": data, "mark": {"type": "line", "clip": True}, "encoding": {"x": x, "y": y}, "height": 90}
    parts = [("a", chart), ("b", chart), ("c", content.getvalue())]
    root = ElementTree.fromstring(drawn(Figure("t", "c", lambda: parts), "", "svg"))
    (picture,) = root.iter(f"{SVG}image")
    assert float(picture.attrib["width"]) == pytest.approx(2 * float(picture.attrib["height"]), abs=1)
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert ids
    assert len(ids) == len(set(ids))


# --- data and settings ------------------------------------------------------------------------------------------------


def opened(explorer: Explorer, **query: str) -> tuple[AppTest, Shown, Selection]:
    at = explorer(**query)
    (card,) = [card for card in api.list_cards()[0] if card.name == MAIN]
    return at, cache.shown(MAIN, card.weights_sha256), Selection(MAIN, "ap", "clean", "PGD-10", 8)


def test_csv_holds_the_records(explorer: Explorer) -> None:
    at, _, _ = opened(explorer)
    figures: dict[str, Figure] = at.session_state[FIGURES]
    found: Any = table(figures["Accuracy over λ"])
    assert len(found) == 2 * len(api.STOPS)
    attacks = {"none": None, "PGD-10 at 8/255": api.pgd(10, api.MAIN_EPS)}
    for row in found.to_dict("records"):
        right = n_correct(api.LINES["ap@clean"](row["lambda"]), attacks[row["attack"]])
        interval = api.wilson(right, N)
        assert (row["n_correct"], row["n"], row["seed"]) == (right, N, api.SEED)
        assert (row["low"], row["high"]) == pytest.approx((100 * interval.low, 100 * interval.high))
        assert f"evaluate {MAIN} --n {N} --ap {row['lambda']:g} --ns clean" in row["command"]


def test_every_figure_of_explore_can_be_drawn_and_says_where_it_comes_from(explorer: Explorer) -> None:
    at, shown, _ = opened(explorer)
    figures: dict[str, Figure] = at.session_state[FIGURES]
    assert len(figures) == 5
    for one in figures.values():
        assert drawn(one, "", "pdf").startswith(b"%PDF")
        assert shown.card.weights_sha256[:8] in one.caption
        assert table(one) is not None


def test_settings_come_back_as_the_selection(explorer: Explorer) -> None:
    at = explorer(lam="0.3", attack="FGSM", slide="statistics", ap="clean")
    (button,) = [one for one in at.get("download_button") if one.proto.label == "Settings (JSON)"]
    assert button.proto.url
    (card,) = [card for card in api.list_cards()[0] if card.name == MAIN]
    shown = cache.shown(MAIN, card.weights_sha256)
    selection = Selection(MAIN, "ns", "0", "FGSM", 8)
    found = sources(shown, selection)
    start = at.session_state["now"]
    payload = build(shown, selection, found, at.session_state["start"], "")
    saved = json.loads(json.dumps(configuration(about(shown, selection, found, start, payload))))
    assert Selection(**saved["selection"]) == selection
    assert saved["lambda"] == 0.3
    assert saved["networks"] == {MAIN: card.weights_sha256}


def test_a_stale_figure_is_not_offered_by_another_page(explorer: Explorer) -> None:
    at, _, _ = opened(explorer)
    at.switch_page("screens/models.py").run()
    assert "Accuracy over λ" not in at.session_state[FIGURES]


# --- the hand-out -----------------------------------------------------------------------------------------------------


def handed(shown: Shown, selection: Selection) -> str:
    found = sources(shown, selection)
    payload = build(shown, selection, found, cache.Start(0.5, 2, None), "")
    state: Any = type("State", (), {"lam": 0.5, "pinned": 2, "layer": None})
    made = about(shown, selection, found, state, payload)
    return page(handout(shown, selection, found, payload, made, "http://example.invalid/?a=1&b=2"))


def test_the_hand_out_says_its_numbers_and_where_they_come_from(explorer: Explorer) -> None:
    _, shown, selection = opened(explorer)
    html = handed(shown, selection)
    text = unescape(re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL))
    setting = api.LINES["ap@clean"](0.5)
    for attack in (None, api.pgd(10, api.MAIN_EPS)):
        interval = api.wilson(n_correct(setting, attack), N)
        assert f"{100 * interval.value:.1f} %" in text
        assert f"95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f} %, n = {N:,}" in text
    for part in ("Where does a network keep its robustness?", "PGD-10 at 8/255, white-box", "λ = 0.50", "seed 0",
                 f"evaluate {MAIN} --n {N} --ap 0.5", source_line([shown.card]), "/?a=1&b=2"):  # fmt: skip
        assert part in text
    assert "do not publish" not in text
    assert re.findall(r'(?:src|href)="(?!http://example.invalid)[^"]*"', html) == []
    payload = json.loads(re.search(r'id="payload">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert payload["start"]["pinned"] == 2


def test_the_hand_out_warns_where_it_holds_images_that_are_not_ours(explorer: Explorer) -> None:
    _, shown, selection = opened(explorer)
    foreign = replace(shown, card=replace(shown.card, data={**shown.card.data, "name": "cifar10"}))
    assert "contains 8 images of CIFAR10" in handed(foreign, selection)
    without = replace(foreign, bench=None)
    assert "do not publish" not in handed(without, selection)


# --- code -------------------------------------------------------------------------------------------------------------


def ran(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


@pytest.mark.parametrize(
    "value",
    [ATTACK, api.pgd(20, 16 / 255), api.APGD(ATTACK.threat, 7, loss="margin", target=3), (1.0, 0.2), (0.5,),
     api.branch_setting(api.Branch.ADV),
     api.NormSetting(0.6, api.Reestimated("clean", 64), (("bn", api.LayerMix(0.25)),))],
)  # fmt: skip
def test_values_are_written_as_what_makes_them(value: Any) -> None:
    assert eval(source(value), {"api": api}) == value


@pytest.fixture(scope="module")
def real() -> Shown:
    """A shipped checkpoint, because the code opens one by its name."""
    device = api.pick_device("cpu")
    bench, card = api.open_bench(MAIN, device, n=64)
    return Shown(card, bench.model, bench, (), {}, {}, {}, "", ())


def test_explores_code_gives_the_records_shown(real: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "N_CURVE", 16)
    monkeypatch.setattr(demand, "STOPS", (0.0, 1.0))
    assert real.bench is not None
    selection = Selection(MAIN, "ap", "stored:1", "PGD-10", 8)
    clean, robust = demand._curves(real.bench, selection, lambda *_: None)
    assert robust is not None
    attack = selection.engine_attack
    records = ran(curve_code(real, selection.line, attack, (0.0, 1.0), 16))["records"]
    assert records == {
        (lam, used): curve.records[at]
        for used, curve in ((None, clean), (attack, robust)) for at, lam in enumerate((0.0, 1.0))
    }  # fmt: skip
    assert curve_rows(real, type("Found", (), {"clean": clean, "robust": robust})())["n_correct"].sum() > 0  # type: ignore[arg-type]


def test_the_attack_pages_code_gives_the_film_shown(real: Shown) -> None:
    cache.quick_results().clear()
    cache.networks_at.clear()
    settings = [side.network for side in PAIR]
    made = ran(film_code(real, settings, ATTACK, 5))["films"]
    for side, one in zip(PAIR, made, strict=True):
        shown = films.film(real, side, ATTACK, 5)
        assert one.loss == pytest.approx(shown.loss, rel=1e-4, abs=1e-5)
        assert one.margin == pytest.approx(shown.margin, rel=1e-4, abs=1e-4)


@pytest.mark.usefixtures("clear_results")
def test_the_layers_pages_code_gives_the_gaps_shown(real: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.networks_at.clear()
    monkeypatch.setattr(measures, "N", 16)
    monkeypatch.setattr(measures, "GROUP", 8)
    question = Question(real.card.weights_sha256, api.branch_setting(api.Branch.ADV), 8, "uniform")
    parts = measures.measured(real, question, lambda *_: None, lambda _: None)
    shown = {
        d.layer: d for d in measures.distances(measures.merged(parts, "clean"), measures.merged(parts, "attacked"))
    }
    for gap in ran(gaps_code(real, question.setting, question.attack, 16, 8))["gaps"]:
        assert (gap.mean, gap.sigma) == pytest.approx(shown[gap.layer].standardised, rel=1e-3, abs=1e-5)
        assert gap.w1_mean == pytest.approx(shown[gap.layer].w1[0], rel=1e-3, abs=1e-6)


def test_code_names_no_path(real: Shown) -> None:
    assert str(Path(__file__).parents[2]) not in curve_code(real, "ap@clean", None, (0.5,), 8)
