"""What was computed is there after a restart, is the same as it was, and nothing breaks where it cannot be kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app import lasting
from app.attack import strength
from app.attack.strength import Asked
from app.compare.verdicts import SAID, Said
from app.explore import demand
from app.forms import CURVES, SHARES, STRIP, TABLE, Form
from app.selection import Selection
from app.shown import Shown
from engine import api
from tests.app.conftest import ATTACK, PAIR, Explorer, forget_computed, run
from tests.app.test_explore import payload
from tests.app.world import strip

N_SMALL = 8
QUESTION = Asked("eps", "toy", "ab" * 32, PAIR, ATTACK)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a store of this test's own."""
    monkeypatch.setenv("DUAL_BN_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(demand, "N_CURVE", N_SMALL)
    forget_computed()
    yield tmp_path / "store" / "results.sqlite"
    forget_computed()


def test_a_restarted_server_shows_the_curve_without_computing(
    explorer: Explorer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = explorer(model="bare", ns="clean")
    at.button(key="compute").click()
    first = payload(run(at))
    assert {entry.sound for entry in api.store.Store(place).entries()} == {True}
    forget_computed()  # all that a server knows by heart
    for name in ("_curves", "working"):
        monkeypatch.setattr(demand, name, lambda *_: pytest.fail("computed again"))
    again = payload(explorer(model="bare", ns="clean"))
    assert again["curves"] == first["curves"]
    assert again["images"] == first["images"]
    monkeypatch.undo()
    monkeypatch.setenv("DUAL_BN_STORE", "off")
    forget_computed()
    assert explorer(model="bare", ns="clean").button(key="compute"), "switched off, nothing is found"


@pytest.mark.parametrize("content", ["damaged", ""], ids=["no-database", "emptied"])
def test_a_damaged_store_is_computed_anew(explorer: Explorer, place: Path, content: str) -> None:
    at = explorer(model="bare", ns="clean", attack="none")
    at.button(key="compute").click()
    first = payload(run(at))
    place.write_text(content)
    forget_computed()
    at = explorer(model="bare", ns="clean", attack="none")
    at.button(key="compute").click()
    assert payload(run(at))["curves"] == first["curves"]
    assert len(list(api.store.Store(place).entries())) == 2  # the curve, and the images beside it


def test_without_a_place_to_write_all_works_and_the_log_says_so_once(
    explorer: Explorer, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place.parent.write_text("a file where the folder should be")
    lasting._note.cache_clear()
    with caplog.at_level(logging.WARNING):
        for attack in ("none", "FGSM"):
            at = explorer(model="bare", ns="clean", attack=attack)
            at.button(key="compute").click()
            assert payload(run(at))["curves"]["clean"]["n"] == N_SMALL
    assert len([record for record in caplog.records if "Results cannot be kept in" in record.message]) == 1


def rows(shown: Shown) -> pd.DataFrame:
    assert shown.bench is not None
    return strength.over_eps(shown.bench, QUESTION, lambda *_: None)


def curves(shown: Shown) -> tuple[api.Curve, api.Curve | None]:
    assert shown.bench is not None
    return demand._curves(shown.bench, Selection("toy", "ap", "stored:1", "PGD-10", 8), lambda *_: None)


def answers(_: Shown) -> Said:
    return Said(np.arange(5), np.arange(5)[::-1].copy())


def looked_at(shown: Shown) -> list[api.Shares]:
    assert shown.bench is not None
    settings = [api.branch_setting(branch) for branch in api.Branch]
    return list(api.shares(shown.bench, settings, ATTACK, "saliency", 4, api.SEED))


def same(a: Any, b: Any) -> bool:
    """Down to the last bit and type, arrays within values and tables too."""
    if isinstance(a, pd.DataFrame):
        return isinstance(b, pd.DataFrame) and a.equals(b) and list(a.dtypes) == list(b.dtypes)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, api.Strip | api.Shares | Said):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("form", "make"),
    [(TABLE, rows), (CURVES, curves), (SAID, answers), (SHARES, looked_at), (STRIP, lambda _: strip(0))],
    ids=["table", "curves", "answers", "shares", "strip"],
)
def test_what_is_kept_comes_back_the_same(
    shown: Shown, place: Path, form: Form[object], make: Callable[[Shown], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand, "STOPS", (0.0, 1.0))
    bench = shown.bench
    assert bench is not None
    value = make(shown)
    lasting.keep(QUESTION, value, bench, 6, form)
    assert same(lasting.recall(QUESTION, bench, 6, form), value)
    forget_computed()
    assert same(lasting.recall(QUESTION, bench, 6, form), value)
    forget_computed()
    others = replace(bench, test=api.load_data("shapes", "test", 41))
    assert lasting.recall(QUESTION, others, 6, form) is None
    assert lasting.recall(replace(QUESTION, weights_sha256="cd"), bench, 6, form) is None
    assert lasting.recall(QUESTION, bench, 7, form) is None
    assert len(list(api.store.Store(place).entries())) == 1


def test_infinite_distances_and_every_digit_survive() -> None:
    table = pd.DataFrame({"eps": [np.inf, 0.1 + 0.2, 1e-300], "fired": [True, False, True], "n": [1, 2, 3]})
    assert same(TABLE.decode(TABLE.encode(table)), table)
