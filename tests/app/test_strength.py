"""The figures of the Attack page that are computed on a click: the engine's own numbers, shared, and made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app import cache, exhibits
from app.attack import strength
from app.attack.films import Side
from app.attack.strength import Asked
from app.command import evaluate_command
from app.shown import Shown
from engine import api
from engine.__main__ import main
from engine.values import DUAL_BN
from tests.app.conftest import ATTACK, PAIR, forget_computed


def nothing(*_: int) -> None:
    """Progress that nobody watches."""


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
    assert all((rows["low"] <= rows["accuracy"]).tolist())
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

    monkeypatch.setattr(exhibits, "working", lambda *_: Waited())
    monkeypatch.setattr(exhibits.st, "button", lambda *_, **__: True)
    monkeypatch.setattr(exhibits.st, "rerun", rerun)
    with pytest.raises(ReranError):
        exhibits.rows_of(shown, [asked], compute, 12)
    found = exhibits.rows_of(shown, [asked], compute, 12)
    assert found is not None
    assert found["a"].tolist() == [1]


def test_films_never_displace_what_took_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.quick_results(), "max_entries", 3)
    forget_computed()
    cache.remember("figure", 1)
    for number in range(9):
        cache.remember(number, number, cache.quick_results())
    assert list(cache.quick_results()) == [6, 7, 8]
    assert list(cache.results()) == ["figure"]
    forget_computed()
