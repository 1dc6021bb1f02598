"""The Attack page: what it shows is the engine's own attack, and every control reaches it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import cache, jobs
from app.attack import films
from app.charts.attacks import surface_figure
from app.charts.pictures import film_sheet
from app.components.film import FilmPayload, Pane
from app.shown import Shown
from engine import api
from engine.values import SINGLE
from tests.app.conftest import ATTACK, PAIR, ROOT, Explorer, run
from tests.support import write_checkpoint

INDEX = 5


def attack_page(_: Explorer, **query: str) -> AppTest:
    """A first visit that starts here; the fixture has chosen the checkpoints."""
    at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=100).switch_page("screens/attack.py")
    for key, value in query.items():
        at.query_params[key] = value
    return run(at)


def captions(at: AppTest) -> str:
    return "\n".join(caption.value for caption in at.caption)


def charts(at: AppTest) -> int:
    return len(at.get("arrow_vega_lite_chart")) + len(at.get("vega_lite_chart"))


@pytest.mark.usefixtures("small")
def test_the_page_opens_on_a_white_box_attack_with_its_provenance(explorer: Explorer) -> None:
    at = attack_page(explorer)
    text = captions(at)
    for part in ("PGD-20 at 8/255", "step 2.00/255", "seed 0", "white-box", "by the unfolded network", "image 0"):
        assert part in text
    assert len(at.get("plotly_chart")) == 2
    assert not at.error
    assert not at.toast


@pytest.mark.usefixtures("small")
def test_every_control_reaches_the_attack(explorer: Explorer) -> None:
    at = attack_page(explorer)
    at.segmented_control(key="method").set_value("APGD")
    at.number_input(key="steps").set_value(4)
    at.segmented_control(key="loss").set_value("margin")
    at.selectbox(key="eps").set_value("16/255")
    at.number_input(key="picture").set_value(7)
    at.slider(key="left").set_value(0.25)
    at.segmented_control(key="ns").set_value("adversarial")
    text = captions(run(at))
    for part in ("APGD-4 (margin) at 16/255", "λ = 0.25", "λ = 1", "image 7"):
        assert part in text


def test_the_film_can_aim_at_a_class_and_refuses_the_true_one(explorer: Explorer) -> None:
    at = attack_page(explorer, eps="16/255", towards="ring")
    text = captions(at)
    assert text.count("(taken for ring: ") == 2
    assert "towards" not in (at.toast[0].value if at.toast else "")
    truth = str(api.shapes.CLASSES[api.load_data("shapes", "test", 1).labels[0]])
    at.selectbox(key="towards").set_value(truth)
    assert "already; choose another target class" in run(at).warning[0].value


def test_a_link_to_what_is_not_here_shows_the_defaults_and_says_so(explorer: Explorer) -> None:
    bad = {
        "model": "nope",
        "steps": "999",
        "picture": "9999",
        "left": "7",
        "eps": "abc",
        "loss": "x",
        "look": "?",
        "towards": "?",
    }
    at = attack_page(explorer, **bad, method="PGD", right="0.5")
    for name in bad:
        assert name in at.toast[0].value
    assert "method" not in at.toast[0].value
    text = captions(at)
    assert "PGD-20 at 8/255" in text
    assert "λ = 0.5" in text


@pytest.mark.usefixtures("small", "clear_results")
@pytest.mark.parametrize(
    ("kind", "look", "more"),
    [("eps", "Attacks and eps", 2), ("steps", "Steps", 1), ("transfer", "Transfer", 1), ("distance", "Distances", 2)],
)
def test_figures_are_computed_on_a_click_and_kept(explorer: Explorer, kind: str, look: str, more: int) -> None:
    at = attack_page(explorer, look=look, ns="clean", steps="2")
    assert charts(at) == 0
    at.button(key=f"go_{kind}").click()
    run(at)
    assert charts(at) == more
    assert f"go_{kind}" not in [button.key for button in at.button]
    assert "95 % intervals" in captions(at)
    assert at.code[-1].value.startswith("python -m engine evaluate shapes-dual-bn --n ")


@pytest.mark.usefixtures("small", "clear_results")
def test_checks_are_said_in_sentences(explorer: Explorer) -> None:
    at = attack_page(explorer, look="Can it be trusted?", ns="adversarial", steps="2")
    at.button(key="go_checks").click()
    text = "\n".join(markdown.value for markdown in run(at).markdown)
    assert text.count(":material/check:") + text.count(":material/warning:") == 7
    assert "have a gradient to follow" in text or "no gradient to follow" in text
    assert at.code[-1].value.endswith("--check")


@pytest.mark.usefixtures("small")
def test_where_lambda_changes_nothing_the_page_says_so(explorer: Explorer, world: Path) -> None:
    if not (world / "one-set").exists():
        write_checkpoint(world, "one-set", SINGLE)
    cache.cards.clear()
    at = attack_page(explorer, model="one-set", look="Transfer", ns="clean", steps="2")
    assert "nothing to move" in "\n".join(markdown.value for markdown in at.markdown)
    assert "one network only" in at.info[0].value
    cache.cards.clear()


def test_sides_that_are_one_network_are_computed_once() -> None:
    assert films.distinct(PAIR) == PAIR
    assert films.distinct([replace(side, design=SINGLE) for side in PAIR]) == (replace(PAIR[0], design=SINGLE),)


def test_films_are_the_attack_of_the_engine(shown: Shown) -> None:
    assert shown.bench is not None
    for side in PAIR:
        one = films.film(shown, side, ATTACK, INDEX)
        view = shown.bench.view(side.setting)
        image, label = shown.bench.test.tensors(INDEX, INDEX + 1)
        expected = ATTACK(api.crafting_network(view), image, label, generator=api.seeded(api.SEED, INDEX))
        np.testing.assert_allclose(one.images[-1], expected[0].numpy(), atol=1e-6)
        assert one.label == int(label)
        assert films.film(shown, side, ATTACK, INDEX) is one
    assert films.surface(shown, PAIR[0], ATTACK, INDEX).loss.shape == (films.N_SURFACE,) * 2


def test_the_sheet_holds_every_frame_in_its_place(shown: Shown) -> None:
    rows = films.pictures(films.film(shown, PAIR[0], ATTACK, INDEX))
    with Image.open(io.BytesIO(film_sheet(rows))) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (4 * 34, 5 * 34, 3)
    for row, frames in enumerate(rows):
        for column, frame in enumerate(frames):
            tile = pixels[row * 34 : row * 34 + 34, column * 34 : column * 34 + 34]
            np.testing.assert_array_equal(tile[1:-1, 1:-1], np.rint(frame.transpose(1, 2, 0) * 255))
            np.testing.assert_array_equal(tile[0, 1:-1], tile[1, 1:-1])
    change = rows[0][-1] - rows[0][0]
    np.testing.assert_array_equal(rows[2][-1], np.where(change > 0, 1, np.where(change < 0, 0, 0.5)))


def test_exports_hold_all_frames(shown: Shown) -> None:
    assert shown.bench is not None
    shots = [films.film(shown, side, ATTACK, INDEX) for side in PAIR]
    text = films.film_table(shown, PAIR, ATTACK, INDEX).to_csv(index=False)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * 5
    assert rows[0]["frame"] == "the image"
    assert float(rows[4]["loss"]) == pytest.approx(float(shots[0].loss[4]), abs=1e-4)
    assert sum(float(rows[7][name]) for name in shown.bench.test.classes) == pytest.approx(1, abs=1e-3)
    with Image.open(io.BytesIO(films.animation(shots, scale=1))) as picture:
        assert (getattr(picture, "n_frames", 1), picture.size) == (5, (128, 64))


def test_the_surface_is_drawn_where_it_was_measured(shown: Shown) -> None:
    found = films.surface(shown, PAIR[1], ATTACK, INDEX)
    figure: Any = surface_figure(found, [found])
    np.testing.assert_array_equal(figure.data[0].z, found.loss)
    assert len(films.surface_table([PAIR[1]], [found])) == found.loss.size


def test_panes_of_different_lengths_are_refused() -> None:
    pane = Pane("a", [[1.0]], [0.0], [0.0], "")
    with pytest.raises(ValueError, match="rows of different lengths"):
        FilmPayload([pane], 32, ["one", "two"], ["x"], 0, 8)


def test_no_images_no_attack(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_images(*_: object, **__: object) -> tuple[api.Bench, api.ModelCard]:
        raise api.InputError("CIFAR-10 is not here; run `python -m engine data download cifar10`.")

    monkeypatch.setattr(api, "open_bench", no_images)
    cache.shown.clear()
    at = attack_page(explorer)
    assert "is not here" in at.info[0].value
    cache.shown.clear()


def moves_a_control_meanwhile(worked: list[str]) -> None:
    """A page whose first run has been overtaken when it comes to its work."""
    import streamlit as st
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    from app.attack.films import quick_slot

    first = "run" not in st.session_state
    st.session_state["run"] = True
    context = get_script_run_ctx()
    if first and context is not None and context.script_requests is not None:
        context.script_requests.request_rerun(RerunData())
    with quick_slot("the film of this run"):
        worked.append("first" if first else "second")


def test_a_run_that_was_overtaken_begins_no_work_and_a_free_slot_draws_nothing() -> None:
    worked: list[str] = []
    at = AppTest.from_function(moves_a_control_meanwhile, args=(worked,)).run()
    assert not at.exception
    assert worked == ["second"]
    assert not at.main.children
    assert not jobs.LINE.tickets
