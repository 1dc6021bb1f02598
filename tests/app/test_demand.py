"""Computing what was not swept: offered, done on a click, kept for the next visitor, equal to the engine's figures."""

from __future__ import annotations

import pytest

from app import cache
from app.explore import demand
from app.selection import Selection
from engine import api
from tests.app.conftest import Explorer, run
from tests.app.test_explore import metrics, payload

N_SMALL = 16

pytestmark = pytest.mark.usefixtures("clear_results")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "N_CURVE", N_SMALL)


def test_a_curve_that_was_not_swept_is_computed_on_a_click(explorer: Explorer) -> None:
    at = explorer(model="bare", ns="clean", lam="1")
    assert at.subheader[0].value == "This curve has not been computed yet"
    assert any("bare, stored clean NS, PGD-10 at 8/255" in text.value for text in at.markdown)
    assert not metrics(at)
    at.button(key="compute").click()
    run(at)
    bench, _ = api.open_bench("bare", api.pick_device("cpu"), n=N_SMALL)
    sent = payload(at)
    assert sent["stops"] == [0.0, 1.0]
    for name, attack in (("clean", None), ("robust", api.pgd(10, api.MAIN_EPS))):
        records = [bench.evaluate(api.LINES["ap@stored:0"](lam), attack, N_SMALL, api.SEED) for lam in (0.0, 1.0)]
        assert sent["curves"][name]["value"] == [record.n_correct / N_SMALL for record in records]
        assert sent["curves"][name]["n"] == N_SMALL
    assert sent["provenance"].startswith(f"Computed just now on {N_SMALL} shapes test images")
    assert sent["images"]["delta_stops"] == [0.0, 1.0]
    assert "Robust accuracy" in metrics(at)


def test_the_next_visitor_need_not_wait(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    at = explorer(model="bare", attack="none", ns="adversarial")
    at.button(key="compute").click()
    first = payload(run(at))
    assert first["curves"]["robust"] is None
    monkeypatch.setattr(demand, "_curves", lambda *_: pytest.fail("computed again"))
    assert payload(explorer(model="bare", attack="none", ns="adversarial"))["curves"] == first["curves"]


def test_only_the_images_missing_are_attacked_without_asking(explorer: Explorer) -> None:
    at = explorer(attack="PGD-20")
    sent = payload(at)
    assert sent["stops"] == [round(0.1 * i, 1) for i in range(11)]
    assert sent["images"]["delta_stops"] == [0.0, 1.0]


def test_progress_rises_to_the_end_over_all_stops() -> None:
    bench, _ = api.open_bench("shapes-standard", api.pick_device("cpu"), n=N_SMALL)
    seen: list[float] = []
    selection = Selection("shapes-standard", "ap", "stored:0", "FGSM", 8)
    clean, robust = demand._curves(bench, selection, lambda done, total: seen.append(done / total))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert robust is not None
    assert clean.lams == robust.lams == demand.STOPS


def test_old_results_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.results(), "max_entries", 3)
    for key in range(5):
        cache.remember(key, str(key))
    assert list(cache.results()) == [2, 3, 4]
