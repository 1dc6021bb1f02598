"""Compare: both sides in the link, differences against a peer's formula, and the two networks image by image."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.compare import verdicts
from app.compare.verdicts import Said, confusion, counts
from app.components.duel import DuelPayload, DuelStart, settled
from app.explore import demand
from engine import api
from tests.app.conftest import ROOT, Explorer, run
from tests.app.world import MAIN, N, n_correct

PGD10 = api.pgd(10, api.MAIN_EPS)


def compare_page(_: Explorer, **query: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=100).switch_page("screens/compare.py")
    for key, value in query.items():
        at.query_params[key] = value
    return run(at)


def payload(at: AppTest) -> dict[str, Any]:
    (component,) = [element for element in at.get("bidi_component") if element.key == "duel"]
    return json.loads(component.proto.json)


def test_both_sides_and_their_difference_are_sent(explorer: Explorer) -> None:
    """Newcombe's interval by its own formula, from the counts that the world was made with."""
    at = compare_page(explorer, a_model=MAIN, b_model=MAIN, b_slide="statistics", lam="0.25")
    sent = payload(at)
    assert sent["start"]["lam"] == 0.25
    assert [row["kind"] for row in sent["rows"]] == ["clean", "robust"]
    assert sent["provenance"].count(f"python -m engine sweep {MAIN} --n ") == 1  # the same for both sides: said once
    assert (sent["at_zero"], sent["at_one"]) == ("clean AP/clean NS", "adversarial AP/adversarial NS")
    robust, stop = sent["rows"][1], sent["stops"].index(0.25)
    a = api.wilson(n_correct(api.LINES["ap@clean"](0.25), PGD10), N)
    b = api.wilson(n_correct(api.LINES["ns@1"](0.25), PGD10), N)
    assert (robust["first"]["value"][stop], robust["second"]["value"][stop]) == (a.value, b.value)
    d = b.value - a.value
    assert robust["delta"]["value"][stop] == pytest.approx(d)
    assert robust["delta"]["low"][stop] == pytest.approx(d - math.hypot(b.value - b.low, a.high - a.value))
    assert robust["delta"]["high"][stop] == pytest.approx(d + math.hypot(b.high - b.value, a.value - a.low))


def test_images_that_are_not_shown_are_not_attacked(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGD-20 has curves and no strip of images; Explore would make it, Compare has no use for it."""
    monkeypatch.setattr(demand, "_strip", lambda *_: pytest.fail("attacked"))
    at = compare_page(explorer, a_model=MAIN, b_model=MAIN, a_attack="PGD-20")
    assert len(payload(at)["rows"]) == 2


def test_swapping_exchanges_every_control_and_turns_the_difference_round(explorer: Explorer) -> None:
    at = compare_page(explorer, a_model=MAIN, b_model=MAIN, b_slide="statistics", b_ap="clean", a_eps="4/255")
    before = payload(at)["rows"][0]
    at.button(key="swap").click()
    run(at)
    after = payload(at)["rows"][0]
    assert after["first"] == before["second"]
    assert after["second"] == before["first"]
    assert after["delta"]["value"] == pytest.approx([-v for v in before["delta"]["value"]])
    assert at.session_state["a_slide"] == "statistics"
    assert (at.session_state["a_ap"], at.session_state["b_eps"]) == ("clean", "4/255")


def test_a_bad_link_is_named_and_opens(explorer: Explorer) -> None:
    at = compare_page(explorer, a_model="nobody", b_model=MAIN, b_attack="magic", lam="7")
    at.selectbox(key="a_model").set_value(MAIN)
    toasts = [toast.value for toast in at.toast]
    run(at)
    assert all(name in toasts[0] for name in ("a_model", "b_attack", "lam"))
    assert payload(at)["start"]["lam"] == 0.5


def test_curves_that_are_not_there_are_offered(explorer: Explorer) -> None:
    at = compare_page(explorer, a_model=MAIN, b_model="bare")
    assert any("**B** has no curves yet" in markdown.value for markdown in at.markdown)
    assert at.button(key="compute")


@pytest.mark.usefixtures("clear_results")
def test_image_by_image_counts_what_the_engine_counts(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "N", 12)
    at = compare_page(explorer, a_model=MAIN, b_model=MAIN, b_attack="none", lam="1")
    at.button(key="judge").click()
    run(at)
    cells = {metric.label: int(metric.value) for metric in at.metric}
    n = 12
    assert sum(cells.values()) == n
    bench, _ = api.open_bench(MAIN, api.pick_device("cpu"), n=n, root=api.CHECKPOINTS)
    setting = api.LINES["ap@clean"](1.0)
    clean, robust = (bench.evaluate(setting, attack, n, api.SEED).n_correct for attack in (None, PGD10))
    assert cells["Both right"] + cells["Only A right"] == robust
    assert cells["Both right"] + cells["Only B right"] == clean
    assert cells["Only A right"] == 0  # attacking cannot help


def test_the_four_cells_and_the_confusions_by_hand() -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert list(counts(a, b).values()) == [1, 1, 1, 1]
    rows = confusion(Said(np.array([0, 0, 1]), np.array([0, 1, 1])), ("x", "y"))
    assert list(rows["count"]) == [1, 1, 0, 1]
    assert list(rows["share"]) == [50, 50, 0, 100]


@pytest.mark.parametrize("choice", [None, [], {"lam": "1"}, {"lam": math.nan, "token": 0}, {"lam": 1, "token": 9}])
def test_what_the_browser_sends_is_not_trusted(choice: object) -> None:
    sent = DuelPayload([0.0, 0.5, 1.0], [], "", "", "", DuelStart(0.5))
    assert settled(choice, sent) == 0.5
    assert settled({"lam": 0.9, "token": 0}, sent) == 1.0
