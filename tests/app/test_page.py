"""The pages as a visitor drives them, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.selection import ATTACKS, EPS, HELD, PRESETS, stale_values
from engine import api

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"


def opened(**query: str) -> AppTest:
    """The Explore page after its first run with these URL parameters."""
    page = AppTest.from_file(str(MAIN), default_timeout=100)
    for key, value in query.items():
        page.query_params[key] = value
    return page.run()


def healthy(page: AppTest) -> bool:
    return not page.exception and not page.error and page.title[0].value.startswith("Where does")


def choose(page: AppTest, key: str, value: str) -> AppTest:
    """The page after a click on an option."""
    page.button_group(key=key).set_value(value).run()
    assert page.session_state[key] == value
    return page


def figures(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def test_first_screen_shows_the_swept_accuracies() -> None:
    page = opened(lam="1")
    assert healthy(page)
    assert not page.toast
    folder = api.checkpoint_folder("shapes-dual-bn")
    wanted = api.NormSetting(1.0, api.Reestimated("clean"))
    records = {r.attack: r for r in api.load_sweep(folder / "sweep.jsonl", {}) if r.setting == wanted}
    clean, robust = records[None].interval, records[api.pgd(10, api.MAIN_EPS)].interval
    assert figures(page)["Clean accuracy"] == f"{100 * clean.value:.1f} %"
    assert figures(page)["Robust accuracy"] == f"{100 * robust.value:.1f} %"


@pytest.mark.parametrize(
    "query",
    [{"model": "nothing"}, {"slide": "sideways"}, {"lam": "banana"}, {"eps": "300"}, {"attack": "x", "ns": "y"}],
    ids=lambda query: "-".join(query),
)
def test_a_stale_link_shows_the_default_and_one_toast(query: dict[str, str]) -> None:
    page = opened(**query)
    assert healthy(page)
    assert len(page.toast) == 1
    assert all(name in page.toast[0].value for name in query)


def test_a_link_restores_every_control() -> None:
    page = opened(model="shapes-dual-ap", slide="statistics", ap="clean", attack="FGSM", eps="4/255", lam="0.25")
    assert healthy(page)
    assert not page.toast
    assert page.selectbox(key="model").value == "shapes-dual-ap"
    assert page.session_state["slide"] == "statistics"
    assert page.session_state["ap"] == "clean"
    assert page.session_state["attack"] == "FGSM"
    assert page.session_state["start"].lam == 0.25


def test_every_control_can_be_used() -> None:
    page = opened()
    for held in HELD["ap"]:
        assert healthy(choose(page, "ns", held))
    for attack in ATTACKS:
        assert healthy(choose(page, "attack", attack))
    choose(page, "attack", "PGD-10")
    for level in EPS:
        assert healthy(page.selectbox(key="eps").set_value(level).run())
    page.selectbox(key="eps").set_value("8/255").run()
    choose(page, "slide", "statistics")
    for held in HELD["ns"]:
        assert healthy(choose(page, "ap", held))
    for card in api.list_cards()[0]:
        assert not page.selectbox(key="model").set_value(card.name).run().exception


def test_presets_move_the_controls_and_say_what_to_check() -> None:
    page = opened()
    for index, preset in enumerate(PRESETS):
        page.button(key=f"preset_{index}").click().run()
        assert healthy(page)
        assert page.session_state["start"].lam == preset.lam
        assert page.session_state["start"].token == index + 1
        assert any(preset.claim in text.value for text in page.markdown)
    choose(page, "attack", "FGSM")
    assert not any(PRESETS[-1].claim in text.value for text in page.markdown)


def test_the_live_attack_obeys_its_sliders() -> None:
    page = opened(lam="1")
    page.slider(key="live_eps").set_value(1).run()
    page.slider(key="live_steps").set_value(2).run()
    said = [caption.value for caption in page.caption if "white-box" in caption.value]
    assert any(text.startswith("PGD-2 at 1/255") and "largest difference 1.00/255" in text for text in said)


def test_what_was_not_swept_is_computed_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.demand.N_CURVE", 16)
    monkeypatch.setattr("app.demand.STOPS", (0.0, 0.5, 1.0))
    page = opened(slide="statistics", ap="adversarial", attack="PGD-20", eps="2/255", lam="1")
    assert "not been computed" in page.subheader[0].value
    page.button(key="compute").click().run()
    assert healthy(page)
    assert "Robust accuracy" in figures(page)


def test_without_checkpoints_one_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cache.cards", lambda: ([], []))
    page = opened()
    assert not page.exception
    assert page.title[0].value == "No checkpoints yet"
    assert "runs/queue.sh" in page.markdown[0].value


def test_stale_values_accepts_all_that_is_offered() -> None:
    good = {
        "model": "a",
        "slide": "statistics",
        "ns": "clean",
        "ap": "clean",
        "attack": "none",
        "eps": "16/255",
        "lam": "0.3",
    }
    assert stale_values(good, ["a"]) == []
    assert stale_values(good | {"lam": "nan", "model": "b"}, ["a"]) == ["model", "lam"]
