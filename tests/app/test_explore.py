"""Explore as a visitor drives it, on made-up accuracies: every control moves what it names, and links restore it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.selection import ATTACKS, EPS, HELD, PRESETS
from engine import api
from tests.app.conftest import Explorer, run
from tests.app.world import MAIN, N, n_correct


def payload(at: AppTest) -> dict[str, Any]:
    """What the drag component was sent."""
    (component,) = [element for element in at.get("bidi_component") if element.key == "blend"]
    return json.loads(component.proto.json)


def choose(at: AppTest, key: str, value: str) -> AppTest:
    """Picks an option of a segmented control."""
    at.segmented_control(key=key).set_value(value)
    return run(at)


def metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def captions(at: AppTest) -> str:
    return "\n".join(caption.value for caption in at.caption)


def percent(setting: api.NormSetting, attack: api.PGD | None) -> str:
    return f"{100 * n_correct(setting, attack) / N:.1f} %"


PGD10 = api.pgd(10, api.MAIN_EPS)

# --- the first visit --------------------------------------------------------------------------------------------------


def test_first_visit_shows_curves_images_layers_and_numbers(explorer: Explorer) -> None:
    at = explorer()
    sent = payload(at)
    assert not at.toast
    assert sent["start"] == {"lam": 0.5, "pinned": 0, "layer": None, "token": 0}
    assert sent["stops"] == list(api.STOPS)
    for name, attack in (("clean", None), ("robust", PGD10)):
        settings = [api.LINES["ap@clean"](lam) for lam in api.STOPS]
        curve = sent["curves"][name]
        assert curve["n"] == N
        assert curve["value"] == [n_correct(setting, attack) / N for setting in settings]
        intervals = [api.wilson(n_correct(setting, attack), N) for setting in settings]
        assert curve["low"] == pytest.approx([i.low for i in intervals], abs=1e-5)
        assert curve["high"] == pytest.approx([i.high for i in intervals], abs=1e-5)
    assert (sent["images"]["count"], sent["images"]["delta_stops"]) == (8, [0.0, 0.5, 1.0])
    first = [2 * 0.5 * (1 + lam) for lam in (0.0, 0.5, 1.0)]
    assert [row[0] for row in sent["layers"]["statistics_gap"]["values"]] == first
    assert len(sent["layers"]["names"]) == len(sent["layers"]["stored_gap"])
    half = api.LINES["ap@clean"](0.5)
    assert metrics(at)["Clean accuracy"] == percent(half, None)
    assert metrics(at)["Robust accuracy"] == percent(half, PGD10)


def test_provenance_names_images_attack_seed_weights_and_command(explorer: Explorer) -> None:
    at = explorer()
    (card,) = [card for card in api.list_cards()[0] if card.name == MAIN]
    line = payload(at)["provenance"]
    for part in ("1,000 shapes test images", "PGD-10 at 8/255", "white-box", "seed 0", card.weights_sha256[:8]):
        assert part in line
    assert line.endswith(f"python -m engine sweep {MAIN} --n 1000 --n-plane 1000 --n-gaps 256")


def test_a_second_run_sends_the_same_payload(explorer: Explorer) -> None:
    at = explorer()
    before = payload(at)
    assert payload(run(at)) == before


# --- controls ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", HELD["ap"])
def test_statistics_control(explorer: Explorer, held: str) -> None:
    at = choose(explorer(), "ns", held)
    line = f"ap@{HELD['ap'][held]}"
    sent = payload(at)
    assert sent["curves"]["robust"]["value"] == [n_correct(api.LINES[line](lam), PGD10) / N for lam in api.STOPS]
    assert sent["axis"] == {"name": "affine parameters (AP)", "at_zero": "clean AP", "at_one": "adversarial AP"}
    assert "NS" in sent["statistics"]
    assert metrics(at)["Robust accuracy"] == percent(api.LINES[line](0.5), PGD10)


@pytest.mark.parametrize("held", HELD["ns"])
def test_the_slider_can_move_the_statistics_instead(explorer: Explorer, held: str) -> None:
    at = choose(choose(explorer(), "slide", "statistics"), "ap", held)
    line = f"ns@{HELD['ns'][held]}"
    sent = payload(at)
    assert sent["curves"]["clean"]["value"] == [n_correct(api.LINES[line](lam), None) / N for lam in api.STOPS]
    assert sent["axis"] == {"name": "normalization statistics (NS)", "at_zero": "clean NS", "at_one": "adversarial NS"}
    assert "AP" in sent["statistics"]
    assert sent["layers"]["affine_gap"]["values"][0] == sent["layers"]["affine_gap"]["values"][-1]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_control(explorer: Explorer, attack: str) -> None:
    at = choose(explorer(lam="1"), "attack", attack)
    sent = payload(at)
    assert at.selectbox(key="eps").disabled == (attack == "none")
    if attack == "none":
        assert sent["curves"]["robust"] is None
        assert sent["images"]["deltas"] is None
        assert list(metrics(at)) == ["Clean accuracy"]
        return
    assert sent["attack"] == f"{attack} at 8/255"
    threat = api.ThreatModel("Linf", api.MAIN_EPS)
    run_as = api.fgsm(threat) if attack == "FGSM" else api.pgd(int(attack[4:]), api.MAIN_EPS)
    setting = api.LINES["ap@clean"](1.0)
    assert metrics(at)["Robust accuracy"] == percent(setting, run_as)
    lost = n_correct(setting, None) - n_correct(setting, run_as)
    assert metrics(at)["Lost to the attack"] == f"{100 * lost / N:.1f} points"


@pytest.mark.parametrize("eps", EPS)
def test_eps_control(explorer: Explorer, eps: str) -> None:
    at = explorer()
    at.selectbox(key="eps").set_value(eps)
    sent = payload(run(at))
    assert sent["attack"] == f"PGD-10 at {eps}"
    attack = api.pgd(10, EPS[eps] / 255)
    settings = [api.LINES["ap@clean"](lam) for lam in sent["stops"]]
    assert sent["curves"]["robust"]["value"] == [n_correct(setting, attack) / N for setting in settings]


@pytest.mark.parametrize("index", range(len(PRESETS)), ids=lambda i: PRESETS[i].title)
def test_presets(explorer: Explorer, index: int) -> None:
    preset = PRESETS[index]
    at = explorer(ns="adversarial", attack="FGSM", lam="0.2")
    at.button(key=f"preset_{index}").click()
    run(at)
    assert {key: at.session_state[key] for key in preset.values} == preset.values
    start = payload(at)["start"]
    assert (start["lam"], start["token"]) == (preset.lam, 1)
    assert any(preset.claim in text.value for text in at.markdown)
    choose(at, "attack", "none")
    assert not any(preset.claim in text.value for text in at.markdown)


# --- what the browser says --------------------------------------------------------------------------------------------


def commit(at: AppTest, lam: float, pinned: int, layer: str | None, token: int = 0) -> AppTest:
    """What the drag component tells Python when a drag ends."""
    at.session_state["blend"] = {"choice": {"lam": lam, "pinned": pinned, "layer": layer, "token": token}}
    return run(at)


def test_a_drag_moves_numbers_link_pinned_image_and_layer(explorer: Explorer) -> None:
    at = commit(explorer(), 0.9, 3, "blocks.0.bn1")
    assert metrics(at)["Robust accuracy"] == percent(api.LINES["ap@clean"](0.9), PGD10)
    assert at.query_params["lam"] == "0.9"
    assert at.query_params["image"] == "3"
    assert at.query_params["layer"] == "blocks.0.bn1"
    assert any("Layer blocks.0.bn1" in title.value for title in at.subheader)
    assert any("(pinned)" in text.value.splitlines()[2 + 3] for text in at.markdown if "| image |" in text.value)


def test_a_layer_no_longer_chosen_leaves_the_link(explorer: Explorer) -> None:
    at = commit(explorer(layer="blocks.0.bn1"), 0.5, 0, "blocks.0.bn1")
    assert at.query_params["layer"] == "blocks.0.bn1"
    assert "layer" not in commit(at, 0.5, 0, None).query_params


def test_what_a_browser_made_up_is_not_believed(explorer: Explorer) -> None:
    at = commit(explorer(), 7.0, 99, "no such layer")
    assert at.query_params["lam"] == "1"
    assert at.query_params["image"] == "0"
    assert "layer" not in at.query_params


def test_a_click_on_a_bar_opens_that_layer(explorer: Explorer) -> None:
    at = explorer()
    at.session_state["distances"] = {"selection": {"layer": [{"layer": "bn"}]}}
    run(at)
    assert any(title.value.startswith("Layer bn,") for title in at.subheader)


def test_coming_back_from_another_page_finds_all_as_it_was(explorer: Explorer) -> None:
    at = commit(explorer(lam="0.2"), 0.9, 3, "bn")
    run(at.switch_page("screens/models.py"))
    run(at.switch_page("screens/explore.py"))
    assert payload(at)["start"] == {"lam": 0.9, "pinned": 3, "layer": "bn", "token": 1}
    assert metrics(at)["Robust accuracy"] == percent(api.LINES["ap@clean"](0.9), PGD10)


def test_so_does_coming_back_from_a_curve_that_is_not_there(explorer: Explorer) -> None:
    at = choose(commit(explorer(eps="4/255"), 0.9, 3, None), "slide", "statistics")
    assert at.subheader[0].value == "This curve has not been computed yet"
    assert payload(choose(at, "slide", "affine"))["start"] == {"lam": 0.9, "pinned": 3, "layer": None, "token": 1}


def test_a_preset_keeps_the_pinned_image_and_the_layer(explorer: Explorer) -> None:
    at = commit(explorer(), 0.9, 3, "bn")
    at.button(key="preset_1").click()
    assert payload(run(at))["start"] == {"lam": 1.0, "pinned": 3, "layer": "bn", "token": 1}


# --- links ------------------------------------------------------------------------------------------------------------


def test_a_link_restores_everything(explorer: Explorer) -> None:
    at = explorer(
        model=MAIN, slide="affine", ns="adversarial", attack="FGSM", lam="0.25", image="5", layer="bn",
        live_eps="4", live_steps="3",
    )  # fmt: skip
    sent = payload(at)
    assert not at.toast
    assert sent["start"] == {"lam": 0.25, "pinned": 5, "layer": "bn", "token": 0}
    assert (sent["attack"], sent["statistics"]) == ("FGSM at 8/255", "stored adversarial NS")
    assert metrics(at)["Clean accuracy"] == percent(api.LINES["ap@stored:1"](0.25), None)
    assert (at.slider(key="live_eps").value, at.slider(key="live_steps").value) == (4, 3)


@pytest.mark.parametrize(
    "query",
    [
        {"model": "gone"},
        {"model": "../../etc"},
        {"slide": "ap"},
        {"ns": "stored:1"},
        {"slide": "statistics", "ap": "half"},
        {"attack": "PGD-99"},
        {"eps": "300"},
        {"lam": "banana"},
        {"lam": "7"},
        {"model": "gone", "slide": "x", "ns": "y", "attack": "z", "eps": "0", "lam": "nan"},
    ],
    ids=lambda query: "&".join(f"{key}={value}" for key, value in query.items()),
)
def test_a_stale_link_shows_the_default_and_one_toast(explorer: Explorer, query: dict[str, str]) -> None:
    at = explorer(**query)
    (toast,) = at.toast
    for key, value in query.items():
        assert (key in toast.value) == ((key, value) != ("slide", "statistics"))
    assert at.selectbox(key="model").value == MAIN
    assert payload(at)["attack"] == "PGD-10 at 8/255"
    assert payload(at)["start"]["lam"] == 0.5
    assert not run(at).toast


@pytest.mark.parametrize(
    "query",
    [{"image": "99"}, {"image": "-1"}, {"image": "²"}, {"image": "1" * 500}, {"layer": "<b>"}],
    ids=lambda query: str(query)[:20],
)
def test_impossible_images_and_layers_fall_back(explorer: Explorer, query: dict[str, str]) -> None:
    at = explorer(**query)
    assert at.query_params["image"] == "0"
    assert any("(pinned)" in text.value.splitlines()[2] for text in at.markdown if "| image |" in text.value)


# --- the live card ----------------------------------------------------------------------------------------------------


def test_live_attack_follows_its_sliders(explorer: Explorer) -> None:
    at = explorer(lam="1")
    at.slider(key="live_eps").set_value(16)
    at.slider(key="live_steps").set_value(2)
    text = captions(run(at))
    assert "PGD-2 at 16/255, step 8.00/255" in text
    assert "largest difference 16.00/255" in text


def test_live_statistics_are_the_lines_own_until_changed(explorer: Explorer) -> None:
    at = explorer(lam="0.2")
    assert at.slider(key="live_ns_0.2").disabled
    choose(at, "live_source_False", "stored")
    slider = at.slider(key="live_ns_0.2")
    assert (slider.disabled, slider.value) == (False, 0.2)
    slider.set_value(1.5)
    assert "computed in" in captions(run(at))
    choose(at, "ns", "adversarial")
    slider = at.slider(key="live_ns_1")
    assert (slider.disabled, slider.value, at.segmented_control(key="live_source_True").value) == (False, 1.0, "stored")
