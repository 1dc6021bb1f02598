"""The Attack page: what it shows is the engine's own attack, and every control reaches it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import attacking, cache, exhibits, strength
from app.attacking import Side
from app.charts.attacks import surface_figure
from app.charts.pictures import film_sheet
from app.command import evaluate_command
from app.components.film import FilmPayload, Pane
from app.payload import Shown
from app.strength import Asked
from engine import api
from engine.__main__ import main
from engine.values import DUAL_BN, SINGLE
from tests.app.conftest import ROOT, Explorer, run
from tests.support import dual_resnet, write_checkpoint

ATTACK = api.PGD(api.ThreatModel("Linf", 8 / 255), 3, 2 / 255)
PAIR = (Side(0.0, "ap@stored:0", DUAL_BN), Side(1.0, "ap@stored:0", DUAL_BN))
INDEX = 5


def nothing(*_: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures on a click, on few images and points."""
    monkeypatch.setattr(strength, "N_CURVE", 6)
    monkeypatch.setattr(strength, "N_DISTANCE", 6)
    monkeypatch.setattr(strength, "N_QUERIES", 5)
    monkeypatch.setattr(strength, "LEVELS", (0, 4, 16))
    monkeypatch.setattr(strength, "STEP_COUNTS", (1, 3))
    monkeypatch.setattr(strength, "CORNERS", (0.0, 1.0))
    monkeypatch.setattr(attacking, "N_SURFACE", 5)


@pytest.fixture
def shown() -> Iterator[Shown]:
    forget()
    model = dual_resnet().requires_grad_(False)
    bench = api.Bench(model, api.load_data("shapes", "test", 40), None)
    card = api.list_cards()[0][-1]
    yield Shown(card, model, bench, (), {}, {}, {}, "", ())
    forget()


def forget() -> None:
    cache.results().clear()
    cache.quick_results().clear()
    cache.networks_at.clear()


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


def test_a_link_to_what_is_not_here_shows_the_defaults_and_says_so(explorer: Explorer) -> None:
    bad = {"model": "nope", "steps": "999", "picture": "9999", "left": "7", "eps": "abc", "loss": "x", "look": "?"}
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
    assert at.code[0].value.startswith("python -m engine evaluate shapes-dual-bn --n ")


@pytest.mark.usefixtures("small", "clear_results")
def test_checks_are_said_in_sentences(explorer: Explorer) -> None:
    at = attack_page(explorer, look="Can it be trusted?", ns="adversarial", steps="2")
    at.button(key="go_checks").click()
    text = "\n".join(markdown.value for markdown in run(at).markdown)
    assert text.count(":material/check:") + text.count(":material/warning:") == 8
    assert "have a gradient to follow" in text or "no gradient to follow" in text
    assert at.code[0].value.endswith("--check")


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
    assert attacking.distinct(PAIR) == PAIR
    assert attacking.distinct([replace(side, design=SINGLE) for side in PAIR]) == (replace(PAIR[0], design=SINGLE),)


def test_films_are_the_attack_of_the_engine(shown: Shown) -> None:
    assert shown.bench is not None
    for side in PAIR:
        one = attacking.film(shown, side, ATTACK, INDEX)
        view = shown.bench.view(side.setting)
        image, label = shown.bench.test.tensors(INDEX, INDEX + 1)
        expected = ATTACK(api.crafting_network(view), image, label, generator=api.seeded(api.SEED, INDEX))
        np.testing.assert_allclose(one.images[-1], expected[0].numpy(), atol=1e-6)
        assert one.label == int(label)
        assert attacking.film(shown, side, ATTACK, INDEX) is one
    assert attacking.surface(shown, PAIR[0], ATTACK, INDEX).loss.shape == (attacking.N_SURFACE,) * 2


def test_the_sheet_holds_every_frame_in_its_place(shown: Shown) -> None:
    rows = attacking.pictures(attacking.film(shown, PAIR[0], ATTACK, INDEX))
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
    shots = [attacking.film(shown, side, ATTACK, INDEX) for side in PAIR]
    text = attacking.film_table(shown, PAIR, ATTACK, INDEX).to_csv(index=False)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * 5
    assert rows[0]["frame"] == "the image"
    assert float(rows[4]["loss"]) == pytest.approx(float(shots[0].loss[4]), abs=1e-4)
    assert sum(float(rows[7][name]) for name in shown.bench.test.classes) == pytest.approx(1, abs=1e-3)
    with Image.open(io.BytesIO(attacking.animation(shots, scale=1))) as picture:
        assert (getattr(picture, "n_frames", 1), picture.size) == (5, (128, 64))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", strength.KINDS)
def test_every_attack_goes_through_every_eps(shown: Shown, kind: str) -> None:
    assert shown.bench is not None
    attack = strength.make_attack(kind, "cross-entropy", 8 / 255, 3)
    done: list[tuple[int, ...]] = []
    rows = strength.over_eps(shown.bench, Asked("eps", "x", "sha", PAIR, attack), lambda *at: done.append(at))
    assert done[-1] == (6 * 6, 6 * 6)
    assert all(a <= b for a, b in zip(done, done[1:], strict=False))
    assert rows["eps_255"].tolist() == [0, 4, 16] * 2
    assert (rows["low"] <= rows["accuracy"]).all()
    assert rows["accuracy"].iloc[0] >= rows["accuracy"].iloc[1] >= rows["accuracy"].iloc[2]
    assert rows["attack"].tolist()[2].endswith("at 16/255")


@pytest.mark.usefixtures("small")
def test_the_printed_command_makes_the_shown_number_again(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench, card = api.open_bench("bare", api.pick_device("cpu"), n=40, root=world)
    side = (Side(1.0, "ap@stored:0", DUAL_BN),)
    figures = [strength.over_eps(bench, Asked("eps", card.name, "sha", side, one), nothing) for one in attacks()]
    figures.append(strength.over_steps(bench, Asked("steps", card.name, "sha", side, ATTACK), nothing))
    for rows in figures:
        row = rows.to_dict("records")[-1]
        words = row["command"].split()[3:]
        assert main([*words, "--root", str(world), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["n_correct"] == row["n_correct"], row["command"]


def attacks() -> list[api.Attack]:
    return [strength.make_attack(kind, "margin", 8 / 255, 3) for kind in strength.KINDS if kind != "quick AutoAttack"]


def test_a_transfer_command_names_both_settings() -> None:
    record = api.EvalRecord(PAIR[1].setting, ATTACK, PAIR[0].setting, 9, 5, 4)
    assert evaluate_command("x", record) == (
        "python -m engine evaluate x --n 9 --ap 1 --ns stored:0 --attack pgd --eps 8/255 --steps 3 "
        "--craft-ap 0 --craft-ns stored:0 --seed 4"
    )


@pytest.mark.usefixtures("small")
def test_the_matrix_judges_all_pairs(shown: Shown) -> None:
    assert shown.bench is not None
    rows = strength.matrix(shown.bench, Asked("transfer", "x", "sha", PAIR, ATTACK), nothing)
    pairs = list(zip(rows["crafted_at"], rows["judged_at"], rows["white_box"], strict=True))
    assert pairs == [(0, 0, True), (0, 1, False), (1, 0, False), (1, 1, True)]


@pytest.mark.usefixtures("small")
def test_distances_say_where_each_image_falls(shown: Shown) -> None:
    assert shown.bench is not None
    rows = strength.distances(shown.bench, Asked("distance", "x", "sha", PAIR, ATTACK), nothing)
    assert rows["lambda"].tolist() == [0.0] * 6 + [1.0] * 6
    view = shown.bench.view(PAIR[0].setting)
    images, labels = shown.bench.test.tensors(0, 6)
    wrong = (view(images).argmax(1) != labels).tolist()
    values = rows["smallest_eps_255"].tolist()
    assert [eps == 0 for eps in values[:6]] == wrong
    assert all(0 <= eps <= strength.FARTHEST or eps == float("inf") for eps in values)


def test_the_median_s_interval_holds_it_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    found = [strength.median_interval(rng.random(64).tolist()) for _ in range(1000)]
    assert sum(low <= 0.5 <= high for _, low, high in found) / 1000 == pytest.approx(0.96, abs=0.02)


@pytest.mark.usefixtures("clear_results")
def test_a_result_another_visitor_finished_meanwhile_is_not_computed_again(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked("eps", "x", "sha", PAIR, ATTACK)
    theirs = pd.DataFrame({"a": [1]})

    class Waited:
        """The slot, in which the other visitor's result appears while one waits."""

        def __enter__(self) -> Callable[[int, int], None]:
            cache.remember(asked, theirs)
            return nothing

        def __exit__(self, *_: object) -> None: ...

    class ReranError(Exception): ...

    def rerun() -> None:
        raise ReranError

    def compute(*_: object) -> pd.DataFrame:
        raise AssertionError("computed twice")

    monkeypatch.setattr(exhibits, "working", lambda _: Waited())
    monkeypatch.setattr(exhibits.st, "button", lambda *_, **__: True)
    monkeypatch.setattr(exhibits.st, "rerun", rerun)
    with pytest.raises(ReranError):
        exhibits.rows_of(shown, [asked], compute, 12)
    found = exhibits.rows_of(shown, [asked], compute, 12)
    assert found is not None
    assert found["a"].tolist() == [1]


def test_films_never_displace_what_took_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_RESULTS", 3)
    forget()
    cache.remember("figure", 1)
    for number in range(9):
        cache.remember(number, number, cache.quick_results())
    assert list(cache.quick_results()) == [6, 7, 8]
    assert cache.results() == {"figure": 1}
    forget()


def test_the_surface_is_drawn_where_it_was_measured(shown: Shown) -> None:
    found = attacking.surface(shown, PAIR[1], ATTACK, INDEX)
    figure: Any = surface_figure(found, [found], dark=False)
    np.testing.assert_array_equal(figure.data[0].z, found.loss)
    assert len(attacking.surface_table([PAIR[1]], [found])) == found.loss.size


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
