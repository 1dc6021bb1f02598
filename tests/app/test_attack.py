"""The Attack page: what it shows is the engine's own attack, and every control reaches it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import attacking, cache
from app.attacking import Asked, Shot
from app.charts.attacks import curve_chart, curve_rows, matrix_chart, surface_figure
from app.components.film import FilmPayload, Pane
from app.payload import Shown
from engine import api
from tests.app.conftest import Explorer, run
from tests.support import dual_resnet

Use = Callable[[Path], None]
ATTACK = api.PGD(api.ThreatModel("Linf", 8 / 255), 3, 2 / 255)
PAIR = (api.branch_setting(api.Branch.CLEAN), api.branch_setting(api.Branch.ADV))
SHOT = Shot("sha", PAIR, ATTACK, 5)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures on a click, on few images and points."""
    monkeypatch.setattr(attacking, "N_CURVE", 12)
    monkeypatch.setattr(attacking, "N_DISTANCE", 6)
    monkeypatch.setattr(attacking, "N_QUERIES", 5)
    monkeypatch.setattr(attacking, "LEVELS", (0, 4, 16))
    monkeypatch.setattr(attacking, "STEP_COUNTS", (1, 3))
    monkeypatch.setattr(attacking, "CORNERS", (0.0, 1.0))
    monkeypatch.setattr(attacking, "N_SURFACE", 5)


@pytest.fixture
def shown() -> Iterator[Shown]:
    cache.results().clear()
    model = dual_resnet().requires_grad_(False)
    bench = api.Bench(model, api.load_data("shapes", "test", 40), None)
    card = api.list_cards()[0][-1]
    yield Shown(card, model, bench, (), {}, {}, {}, "", ())
    cache.results().clear()


def attack_page(explorer: Explorer) -> AppTest:
    return run(explorer().switch_page("screens/attack.py"))


def captions(at: AppTest) -> str:
    return "\n".join(caption.value for caption in at.caption)


@pytest.mark.usefixtures("small")
def test_the_page_opens_on_a_white_box_attack_with_its_provenance(explorer: Explorer) -> None:
    at = attack_page(explorer)
    text = captions(at)
    for part in (
        "PGD-20 at 8/255",
        "step 2.00/255",
        "seed 0",
        "white-box",
        "verdicts by the unfolded network",
        "image 0",
    ):
        assert part in text
    assert len(at.get("plotly_chart")) == 2
    assert not at.error


@pytest.mark.usefixtures("small")
def test_every_control_reaches_the_attack(explorer: Explorer) -> None:
    at = attack_page(explorer)
    at.number_input(key="steps").set_value(4)
    at.segmented_control(key="loss").set_value("margin")
    at.selectbox(key="eps").set_value("16/255")
    at.selectbox(key="picture").set_value(7)
    at.slider(key="left").set_value(0.25)
    at.segmented_control(key="ns").set_value("adversarial")
    text = captions(run(at))
    for part in ("PGD-4 (margin) at 16/255", "λ = 0.25", "λ = 1", "image 7"):
        assert part in text


@pytest.mark.usefixtures("small", "clear_results")
@pytest.mark.parametrize("kind", ["eps", "steps", "transfer", "distance"])
def test_figures_are_computed_on_a_click_and_kept(explorer: Explorer, kind: str) -> None:
    at = attack_page(explorer)
    before = len(at.get("arrow_vega_lite_chart")) + len(at.get("vega_lite_chart"))
    at.button(key=f"go_{kind}").click()
    run(at)
    assert len(at.get("arrow_vega_lite_chart")) + len(at.get("vega_lite_chart")) == before + 1
    assert f"go_{kind}" not in [button.key for button in at.button]


@pytest.mark.usefixtures("small", "clear_results")
def test_checks_are_said_in_sentences(explorer: Explorer) -> None:
    at = attack_page(explorer)
    at.button(key="go_checks").click()
    text = "\n".join(markdown.value for markdown in run(at).markdown)
    assert text.count(":material/check:") + text.count(":material/warning:") == 7
    assert "have a gradient to follow" in text or "no gradient to follow" in text


def test_films_are_the_attack_of_the_engine(shown: Shown) -> None:
    assert shown.bench is not None
    shots = attacking.films(shown, SHOT)
    for setting, one in zip(PAIR, shots, strict=True):
        view = shown.bench.view(setting)
        image, label = shown.bench.test.tensors(5, 6)
        craft = api.crafting_network(view)
        expected = ATTACK(craft, image, label, generator=api.seeded(api.SEED, 5))
        np.testing.assert_allclose(one.images[-1], expected[0].numpy(), atol=1e-6)
        assert one.label == int(label)
    assert all(a is b for a, b in zip(attacking.films(shown, SHOT), shots, strict=True))
    assert attacking.surfaces(shown, SHOT)[0].loss.shape == (attacking.N_SURFACE,) * 2


def test_the_sheet_holds_every_frame_in_its_place(shown: Shown) -> None:
    shots = attacking.films(shown, SHOT)
    rows = [row for one in shots for row in attacking.pictures(one)]
    with Image.open(io.BytesIO(attacking.sheet(rows))) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (6 * 34, 5 * 34, 3)
    for row, frames in enumerate(rows):
        for column, frame in enumerate(frames):
            tile = pixels[row * 34 : row * 34 + 34, column * 34 : column * 34 + 34]
            np.testing.assert_array_equal(tile[1:-1, 1:-1], np.rint(frame.transpose(1, 2, 0) * 255))
            np.testing.assert_array_equal(tile[0, 1:-1], tile[1, 1:-1])


def test_exports_hold_all_frames(shown: Shown) -> None:
    assert shown.bench is not None
    shots = attacking.films(shown, SHOT)
    rows = list(csv.DictReader(io.StringIO(attacking.table(shots, SHOT, shown.bench.test.classes))))
    assert len(rows) == 2 * 5
    assert rows[0]["frame"] == "the image"
    assert float(rows[4]["loss"]) == pytest.approx(float(shots[0].loss[4]), abs=1e-4)
    assert sum(float(rows[7][name]) for name in shown.bench.test.classes) == pytest.approx(1, abs=1e-3)
    with Image.open(io.BytesIO(attacking.animation(shots, scale=1))) as picture:
        assert (getattr(picture, "n_frames", 1), picture.size) == (5, (96, 64))


@pytest.mark.usefixtures("small")
def test_curves_and_matrix_are_the_bench_s_own_figures(shown: Shown) -> None:
    assert shown.bench is not None
    done: list[tuple[int, int]] = []

    def progress(*values: int) -> None:
        done.append((values[0], values[1]))

    by_eps = attacking.over_eps(shown.bench, Asked("sha", "eps", PAIR, ATTACK), progress)
    assert done[-1] == (6, 6)
    assert [x for x, _, _ in by_eps] == [0, 4, 16] * 2
    assert by_eps[0][2].attack is None
    strongest = by_eps[-1][2]
    assert strongest.white_box
    assert isinstance(strongest.attack, api.PGD)
    assert strongest.attack.label == "PGD-3 at 16/255"
    assert strongest.attack.step_size == pytest.approx(4 / 255)
    assert strongest.attack.stop == "success"
    by_steps = attacking.over_steps(shown.bench, Asked("sha", "steps", PAIR, ATTACK), progress)
    assert [x for x, _, _ in by_steps] == [1, 3] * 2
    frame = curve_rows(by_steps)
    assert all(low <= value for low, value in zip(frame["low"], frame["accuracy"], strict=True))
    assert curve_chart(frame, "steps", log=True).to_dict()
    rows = attacking.matrix(shown.bench, Asked("sha", "transfer", PAIR, ATTACK), progress)
    assert [row.crafted_at for row in rows] == list(PAIR)
    assert matrix_chart(rows).to_dict()


@pytest.mark.usefixtures("small")
def test_distances_say_where_each_image_falls(shown: Shown) -> None:
    assert shown.bench is not None
    rows = attacking.distances(shown.bench, Asked("sha", "distance", PAIR, ATTACK), lambda *_: None)
    assert [title for title, _ in rows] == ["λ = 0"] * 6 + ["λ = 1"] * 6
    view = shown.bench.view(PAIR[0])
    images, labels = shown.bench.test.tensors(0, 6)
    wrong = (view(images).argmax(1) != labels).tolist()
    assert [eps == 0 for _, eps in rows[:6]] == wrong
    assert all(0 <= eps <= attacking.FARTHEST or eps == float("inf") for _, eps in rows)


def test_the_surface_is_drawn_where_it_was_measured(shown: Shown) -> None:
    found = attacking.surfaces(shown, SHOT)[1]
    figure: Any = surface_figure(found, dark=False)
    np.testing.assert_array_equal(figure.data[0].z, found.loss)
    middle = len(found.ticks) // 2
    assert figure.data[1].z[0] == found.loss[middle, middle]


def test_panes_of_different_lengths_are_refused() -> None:
    pane = Pane("a", [[1.0]], [0.0], [0.0])
    with pytest.raises(ValueError, match="rows of different lengths"):
        FilmPayload([pane], "", 32, ["one", "two"], ["x"], 0, 8)


def test_no_images_no_attack(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> tuple[api.Bench, api.ModelCard]:
        raise api.InputError("CIFAR-10 is not here; run `python -m engine data download cifar10`.")

    monkeypatch.setattr(api, "open_bench", nothing)
    cache.shown.clear()
    at = attack_page(explorer)
    assert "is not here" in at.info[0].value
    cache.shown.clear()
