"""The tour's text on every shipped checkpoint, against accuracies counted here from the sweep files themselves."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app import cache
from app.controls import hidden
from app.layers import measures
from app.tour import answers, conclusions
from app.tour.answers import Results
from app.tour.steps import STEPS
from app.tour.values import JUST_TELL, Answer, chosen, reply
from engine import api
from tests.app.conftest import ROOT

CARDS = {card.name: card for card in api.list_cards()[0]}
SWEPT = [name for name in CARDS if (api.checkpoint_folder(name) / "sweep.jsonl").exists()]
NUMBER = r"\*\*([+-]?[\d.]+) (?:%|points)\*\* \(([+-]?[\d.]+) to ([+-]?[\d.]+)\)"


@pytest.fixture(autouse=True, scope="module")
def _nothing_cached_of_other_folders() -> Iterator[None]:
    """Before and after: this file shows the shipped checkpoints, others a folder of their own."""
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


@lru_cache
def results(name: str) -> Results:
    """Kept for the whole file: loading a network takes longer than any test of it."""
    card = CARDS[name]
    family = api.family_of(card)
    found = {one: finding for (of, one), finding in cache.findings().by_key.items() if of == family}
    return Results(cache.shown(name, card.weights_sha256), found, list(CARDS.values()))


def counted(name: str, ap: float, ns: dict[str, Any], steps: int | None) -> tuple[int, int]:
    """Right and all images of one point, read from the file as plain JSON."""
    design = CARDS[name].norm_design
    ap = 0.0 if design.share_parameters else ap
    if ns["kind"] == "stored" and design.share_statistics:
        ns = {"kind": "stored", "lam": 0.0}
    found = [
        (record["n"], record["n_correct"])
        for record in records(name)
        if record["setting"]["affine"] == ap
        and all(record["setting"]["statistics"].get(key) == value for key, value in ns.items())
        and (record["attack"] is None if steps is None else is_pgd(record["attack"], steps))
    ]
    n, right = max(found)
    return right, n


@lru_cache
def records(name: str) -> list[dict[str, Any]]:
    lines = (api.checkpoint_folder(name) / "sweep.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def is_pgd(attack: dict[str, Any] | None, steps: int) -> bool:
    return attack is not None and attack["steps"] == steps and round(255 * attack["threat"]["eps"]) == 8


def score_bounds(k: int, n: int) -> tuple[float, float]:
    """Where (k/n - p)^2 = z^2 p (1 - p) / n: Wilson's bounds as roots of a quadratic."""
    z2, share = 1.959964**2, k / n
    low, high = sorted(np.roots([1 + z2 / n, -(2 * share + z2 / n), share**2]).real)
    return float(low), float(high)


def newcombe(a: int, m: int, c: int, n: int) -> tuple[float, float]:
    """95 % bounds of a/m - c/n in points (Newcombe 1998, method 10)."""
    (low_a, high_a), (low_c, high_c) = score_bounds(a, m), score_bounds(c, n)
    p, q = a / m, c / n
    low = p - q - math.sqrt((p - low_a) ** 2 + (high_c - q) ** 2)
    return 100 * low, 100 * (p - q + math.sqrt((high_a - p) ** 2 + (q - low_c) ** 2))


CLEAN_NS = {"kind": "reestimated", "source": "clean"}


def stored(lam: float) -> dict[str, Any]:
    return {"kind": "stored", "lam": lam}


POINTS = {
    "puzzle": ((0.0, stored(0.0)), (1.0, stored(1.0))),
    "swap_statistics": ((0.0, stored(0.0)), (0.0, stored(1.0))),
    "swap_affine": ((0.0, CLEAN_NS), (1.0, CLEAN_NS)),
    "halfway": ((1.0, CLEAN_NS), (0.5, CLEAN_NS)),
}
"""Step -> the two points whose difference under attack it asks about; AP and NS."""
BOUNDS = {"puzzle": (10, 40), "swap_statistics": (-10, 10, 40), "swap_affine": (-10, 10, 40), "halfway": (-30, -5)}


@pytest.mark.parametrize("step", list(POINTS))
@pytest.mark.parametrize("name", SWEPT)
def test_the_answer_is_what_the_sweep_counted(name: str, step: str) -> None:
    """Difference and interval worked out here; the right options are those that this interval touches."""
    answer: Answer = getattr(answers, step)(results(name))
    design = CARDS[name].norm_design
    needed = {"puzzle": False, "swap_statistics": design.share_statistics}.get(step, design.share_parameters)
    if needed or (design.share_statistics and design.share_parameters):
        assert answer.options == ()
        assert "one" in answer.text or "share" in answer.text
        return
    (c, n), (a, m) = (counted(name, ap, ns, 10) for ap, ns in POINTS[step])
    low, high = newcombe(a, m, c, n)
    value = 100 * (a / m - c / n)
    found = [tuple(float(part) for part in one) for one in re.findall(NUMBER, answer.text)]
    assert any(math.dist(one, (value, low, high)) < 0.11 for one in found)
    assert any(math.isclose(one[0], 100 * a / m, abs_tol=0.051) for one in found)
    edges = [-math.inf, *BOUNDS[step], math.inf]
    assert answer.right == {
        i for i, (lower, upper) in enumerate(zip(edges, edges[1:], strict=False)) if high >= lower and low < upper
    }
    assert f"n = {n:,}" in answer.evidence
    assert CARDS[name].weights_sha256[:8] in answer.evidence
    clean, of = counted(name, *POINTS[step][1], None)
    assert any(math.isclose(one[0], 100 * clean / of, abs_tol=0.051) for one in found)


@pytest.mark.parametrize("name", SWEPT)
def test_what_follows_from_the_numbers_is_said_and_nothing_else(name: str) -> None:
    """The words of the verdict against the sign of the counts; a clean accuracy that breaks is named."""
    of, design = results(name), CARDS[name].norm_design
    if not (design.share_statistics and design.share_parameters):
        gap = [counted(name, ap, ns, 10)[0] for ap, ns in POINTS["puzzle"]]
        text = answers.puzzle(of).text
        assert ("Where, then" in text) == (gap[1] > gap[0] + 50)
    if not design.share_statistics:
        start, end = (counted(name, ap, ns, None)[0] for ap, ns in POINTS["swap_statistics"])
        assert ("without any attack" in answers.swap_statistics(of).text) == (end < 0.9 * start)
    if not design.share_parameters:
        said = answers.swap_affine(of).text
        start, end = (counted(name, ap, ns, 10) for ap, ns in POINTS["swap_affine"])
        assert ("**do carry**" in said) == (newcombe(*end, *start)[0] >= 10)


@pytest.mark.parametrize("name", list(CARDS))
def test_storage_counts_the_weights(name: str) -> None:
    """Against the file's own tensors: every weight with one entry a channel in a norm layer."""
    model = cache.shown(name, CARDS[name].weights_sha256).model
    channels = sum(layer.num_features for _, layer in api.dual_layers(model))
    answer = answers.storage(results(name))
    assert f"are {2 * channels:,} of" in answer.text
    assert answer.right == {0}
    assert ("they lie apart" in answer.text) == (CARDS[name].design not in ("single", "dual-linear"))


@pytest.mark.parametrize("name", list(CARDS))
def test_the_price_comes_from_the_card(name: str) -> None:
    card, answer = CARDS[name], conclusions.two_tasks(results(name))
    if card.design == "single":
        assert not answer.options
        return
    clean = {r.setting.affine: r.n_correct for r in card.records if r.attack is None}
    if len(clean) == 2:
        paid = 100 * (clean[0.0] - clean[1.0]) / card.records[0].n
        said = re.search(r"pays \*\*(-?[\d.]+) points", answer.text)
        assert said is not None
        assert math.isclose(float(said[1]), paid, abs_tol=0.051)


def test_the_last_step_counts_the_verdicts_on_file() -> None:
    files = (ROOT / "checkpoints" / "paper" / "shapes").glob("E*.json")
    verdicts = [json.loads(path.read_text())["verdict"] for path in files]
    answer = conclusions.meaning(results("shapes-dual-bn"), [])
    holds = verdicts.count("holds")
    assert f"Of {len(verdicts)} claims" in answer.text
    assert f"{holds} hold (" in answer.text
    assert f"{verdicts.count('fails')} fail (" in answer.text
    assert answer.right == {0 if 3 * holds < len(verdicts) else 1 if 3 * holds < 2 * len(verdicts) else 2}


def test_the_gap_is_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of the stored gap below a fifth, on images measured here; chance is named only where it is as large."""
    monkeypatch.setattr(measures, "N", 64)
    of = results("shapes-dual-bn")
    setting = api.branch_setting(api.Branch.ADV)
    question = measures.Question(of.card.weights_sha256, setting, 8, "uniform")
    parts = measures.measured(of.shown, question, lambda *_: None, lambda _: None)
    answer = conclusions.domain_gap(of, parts)
    rows = measures.gaps(parts, "attacked")
    held = next(r for r in rows if (r.layer, r.metric, r.quantity) == ("", "standardised", "mean"))
    stored_mean = sum(gap.mean for gap in api.stored_gaps(of.shown.model)) / len(api.stored_gaps(of.shown.model))
    assert (0 in answer.right) == (held.low / stored_mean < 0.2)
    assert f"{100 * held.value / stored_mean:.0f} % of the stored gap in μ" in answer.text
    assert "n = 64 shapes" in answer.evidence
    assert not conclusions.domain_gap(of, None).options


def test_a_guess_is_judged_by_the_interval() -> None:
    options = ("falls", "stays", "rises")
    one = Answer("?", options, chosen(api.Estimate(0.5, 0.4, 0.6), (0.0, 0.1)), "", "")
    two = Answer("?", options, chosen(api.Estimate(0.1, 0.05, 0.2), (0.0, 0.1)), "", "")
    assert (one.right, two.right) == ({2}, {1, 2})
    assert reply(one, 2) == "You guessed it."
    assert "fair guess" in reply(one, 0)
    assert "“rises”" in reply(one, 0)
    assert "“stays” and “rises” open" in reply(two, 1)
    assert reply(one, JUST_TELL) == "The answer: “rises”."


def tour(**query: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=100).switch_page("screens/tour.py")
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception, page.exception[0].stack_trace
    return page


@pytest.mark.parametrize("name", list(CARDS))
def test_every_step_opens_for_every_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "N", 64)
    page = tour(model=name)
    for step in range(1, len(STEPS) + 1):
        page.segmented_control(key="step").set_value(step).run()
        assert not page.exception, page.exception[0].stack_trace
        assert not page.error
        assert page.title[0].value == STEPS[step - 1].heading
        if CARDS[name].design == "single" and step in (1, 3, 4, 5, 6, 7):
            assert any("**one** set" in markdown.value for markdown in page.markdown)


def test_a_guess_survives_going_back_and_forth_and_notes_are_switched() -> None:
    page = tour(step="3", notes="true")
    assert any("For the teacher" in markdown.value for markdown in page.markdown)
    page.button(key="option_0").click().run()
    assert any("A fair guess" in markdown.value for markdown in page.markdown)
    page.button(key="next_step").click().run()
    assert page.title[0].value == STEPS[3].heading
    assert not any("A fair guess" in markdown.value for markdown in page.markdown)
    page.button(key="back_step").click().run()
    assert any("A fair guess" in markdown.value for markdown in page.markdown)


@pytest.mark.parametrize("step", ["99", "abc", "0", "1.5", ""])
def test_nonsense_gets_one_message_and_the_first_step(step: str) -> None:
    page = tour(step=step)
    assert page.title[0].value == STEPS[0].heading
    assert len(page.toast) == 1
    assert "(step)" in page.toast[0].value


def test_a_hidden_control_is_absent_and_in_force() -> None:
    page = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=100)
    page.session_state["painted"] = True
    for key, value in {"hide": "attack,eps,nonsense", "attack": "PGD-20", "eps": "8/255", "mode": "lecture"}.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception, page.exception[0].stack_trace
    assert {control.key for control in page.segmented_control} == {"slide", "ns", *SOURCES}
    assert [box.key for box in page.selectbox if box.key == "eps"] == []
    assert page.session_state["attack"] == "PGD-20"
    assert page.button(key="leave_lecture").label == "Leave lecture mode"
    page.button(key="leave_lecture").click().run()
    assert "mode" not in page.query_params
    assert "attack" in {control.key for control in page.segmented_control}
    assert hidden() == frozenset()


@pytest.mark.parametrize("name", ["slide", "ns", "attack"])
def test_a_parameter_without_a_value_gets_the_default(name: str) -> None:
    page = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=100)
    page.session_state["painted"] = True
    page.query_params[name] = ""
    page.run()
    assert not page.exception, page.exception[0].stack_trace
    assert f"({name})" in page.toast[0].value
    assert "Robust accuracy" in {metric.label for metric in page.metric}


SOURCES = {"live_source_False"}


def test_a_mode_that_does_not_exist_gets_one_message() -> None:
    page = tour(mode="cinema")
    assert [toast.value for toast in page.toast] == [
        "This link asks for a mode that does not exist; the only one is mode=lecture."
    ]
