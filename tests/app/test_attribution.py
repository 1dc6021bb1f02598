"""The Attribution page: its maps are the engine's, its colours mean one thing, and every control reaches it."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import cache
from app.attribution import maps
from app.attribution.maps import Measure, View
from app.charts.attribution import SCALE, colours, palette, picture, share_chart, share_rows
from app.shown import Shown
from engine import api
from engine.attribution import methods
from engine.cli.arguments import parse
from engine.cli.evaluate import parse_attack
from tests.app.conftest import Explorer, run
from tests.support import dual_resnet

ATTACK = api.PGD(api.ThreatModel("Linf", 8 / 255), 2, 4 / 255)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "LAMS", (0.0, 1.0))
    monkeypatch.setattr(methods, "PATH_N", 4)


@pytest.fixture
def shown() -> Iterator[Shown]:
    cache.results().clear()
    model = dual_resnet().requires_grad_(False)
    bench = api.Bench(model, api.load_data("shapes", "test", 20), None)
    yield Shown(api.list_cards()[0][-1], model, bench, (), {}, {}, {}, "", ())
    cache.results().clear()


def attribution_page(explorer: Explorer, **query: str) -> AppTest:
    at = explorer(steps="2", **query)
    for key, value in query.items():
        at.query_params[key] = value
    return run(at.switch_page("screens/attribution.py"))


def text(at: AppTest) -> str:
    return "\n".join(part.value for part in (*at.caption, *at.markdown))


def pictures(at: AppTest) -> int:
    """The legend's strip and the four pairs of image and map."""
    return len(at.get("image"))


def test_maps_are_those_of_the_image_attacked_at_the_setting_shown(shown: Shown) -> None:
    assert shown.bench is not None
    settings = [maps.setting(lam, maps.OWN) for lam in (0.0, 1.0)]
    assert settings == [api.branch_setting(branch) for branch in api.Branch]
    for setting in settings:
        view = View("sha", setting, ATTACK, 3, "saliency", "label")
        (seen,) = maps.maps(shown, [view], lambda *_: None)
        network = shown.bench.view(setting)
        image, label = shown.bench.test.tensors(3, 4)
        expected = ATTACK(api.crafting_network(network), image, label, generator=api.seeded(api.SEED, 3))
        np.testing.assert_allclose(seen.image, expected[0].numpy(), atol=1e-6)
        found = api.attribute(network, "saliency", expected, label, generator=api.seeded(0, 0))
        np.testing.assert_allclose(seen.values, found.values[0], atol=1e-4)
        assert (seen.explained, seen.answer) == (int(label), int(network(expected).argmax()))
        assert not maps.missing([view])
        assert maps.maps(shown, [view], lambda *_: None)[0] is seen


def test_the_command_asks_for_the_figures_shown() -> None:
    for attack, held in ((ATTACK, "own"), (replace(ATTACK, steps=20, step_size=2 / 255), "stored:1")):
        asked = Measure("sha", (), attack, "smoothgrad", "label", 50)
        arguments = parse(shlex.split(maps.command("toy", asked, held))[3:])
        made = parse_attack(arguments)
        assert isinstance(made, api.PGD)
        assert replace(made, stop="never") == attack
        assert (arguments.name, arguments.method, arguments.n, arguments.explain) == ("toy", "smoothgrad", 50, "label")
        assert arguments.ns == held


@pytest.mark.parametrize("dark", [False, True])
def test_colours_grow_with_the_value_and_stop_at_the_limit(dark: bool) -> None:
    against, nothing, speaks = palette(dark)
    found = colours(np.array([-9.0, -2.0, 0.0, 1.0, 2.0]), 2.0, dark).astype(float)
    np.testing.assert_allclose(found, [against, against, nothing, (nothing + speaks) / 2, speaks], atol=0.5)
    mask = np.zeros((4, 4), dtype=bool)
    mask[1:3, 1:3] = True
    values = np.array([[1, -1] * 2] * 4, np.float32)
    with Image.open(io.BytesIO(picture(np.zeros((3, 4, 4), np.float32), values, 1.0, dark, mask))) as made:
        pixels = np.asarray(made)
    left, right = pixels[:, : 4 * SCALE], pixels[:, -4 * SCALE :]
    assert left[..., :3].max() == 0
    np.testing.assert_array_equal(right[0, 0, :3], speaks)
    np.testing.assert_array_equal(right[0, SCALE, :3], against)
    assert pixels[0, 4 * SCALE, 3] == 0, "between the two the page shows through"
    outlined = np.any(right[..., :3] != colours(values, 1.0, dark).repeat(SCALE, 0).repeat(SCALE, 1), axis=2)
    assert outlined.sum() == (2 * SCALE) ** 2 - (2 * SCALE - 4) ** 2
    assert outlined[SCALE, SCALE]
    assert not outlined[: SCALE - 1].any()


def test_the_page_opens_on_both_branches_with_its_provenance(explorer: Explorer) -> None:
    at = attribution_page(explorer)
    for part in (
        "λ = 0: the clean branch's AP",
        "λ = 1: the adversarial",
        "PGD-2 at 8/255",
        "seed 0",
        "white-box",
        "Weights ",
        "image 0",
        "true outline",
        "Clean image: the network says",
    ):
        assert part in text(at)  # fmt: skip
    assert pictures(at) == 5
    assert not at.error
    assert not at.toast


@pytest.mark.usefixtures("clear_results")
@pytest.mark.parametrize("method", ["gradient", "Grad-CAM"])
def test_shares_are_measured_on_a_click_kept_and_said_in_words(explorer: Explorer, method: str) -> None:
    at = attribution_page(explorer, method=method, count="20")
    assert not at.code
    at.button(key="go_measure").click()
    run(at)
    assert f"--method {'saliency' if method == 'gradient' else 'grad-cam'} --n 20" in at.code[0].value
    for part in ("n 20", "95 % bootstrap", "From λ = 0 to 1 the share inside the shape"):
        assert part in text(at)
    charts = len(at.get("arrow_vega_lite_chart")) + len(at.get("vega_lite_chart"))
    assert charts == (2 if method == "gradient" else 1)
    assert ("too coarse" in text(at)) == (method == "Grad-CAM")
    assert "go_measure" not in [button.key for button in at.button]


def test_a_link_with_nonsense_is_answered_by_one_note(explorer: Explorer) -> None:
    at = attribution_page(explorer, method="lime", left="7", picture="-3", explain="the weather", held="x")
    (note,) = at.toast
    for name in ("method", "left", "picture", "explain", "held"):
        assert name in note.value
    assert pictures(at) == 5


def test_rows_of_the_charts_are_the_intervals_of_the_shares() -> None:
    rng = np.random.default_rng(0)
    columns = [rng.random(30) for _ in range(4)]
    inside, even, band, elsewhere = columns
    one = api.Shares(maps.setting(0.5, "clean"), None, 0, inside, even, band, elsewhere, 20)
    rows = share_rows([one], "grating")
    assert rows["share"].tolist() == pytest.approx([100 * column.mean() for column in columns[2:]])
    assert rows["low"].tolist() == pytest.approx([100 * one.interval(column).low for column in columns[2:]])
    assert share_chart(rows, "share").to_dict()
    assert share_rows([replace(one, band=None, elsewhere=None)], "grating").empty
    more = maps.preference(one)
    assert more is not None
    assert more.value == pytest.approx((columns[2] - columns[3]).mean())
