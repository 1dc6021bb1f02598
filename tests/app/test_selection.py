"""A selection names a line of the engine and its attack; links are checked value by value; presets can be shown."""

from __future__ import annotations

import pytest

from app.selection import (
    ATTACKS,
    DEFAULTS,
    EPS,
    HELD,
    HELD_LABELS,
    PRESETS,
    SLIDES,
    Preset,
    Selection,
    parse_lam,
    stale_values,
)
from engine import api

EVERY_LINE = [(slide, held) for slide in SLIDES.values() for held in HELD[slide].values()]


@pytest.mark.parametrize(("slide", "held"), EVERY_LINE, ids="@".join)
def test_every_combination_of_controls_is_a_line_of_the_engine(slide: str, held: str) -> None:
    selection = Selection("any", slide, held, "none", 8)
    setting = api.LINES[selection.line](0.25)
    moved = setting.affine if slide == "ap" else getattr(setting.statistics, "lam", None)
    fixed = setting.statistics if slide == "ap" else setting.affine
    wanted = {"clean": api.Reestimated("clean"), "stored:0": api.Stored(0), "stored:1": api.Stored(1), "0": 0, "1": 1}
    assert (moved, fixed) == (0.25, wanted[held])
    assert selection.held_label == HELD_LABELS[held]


def test_the_controls_reach_every_line() -> None:
    assert {f"{slide}@{held}" for slide, held in EVERY_LINE} == set(api.LINES)


@pytest.mark.parametrize("level", EPS.values())
@pytest.mark.parametrize(("name", "steps", "random"), [("FGSM", 1, False), ("PGD-10", 10, True), ("PGD-20", 20, True)])
def test_attacks_are_those_of_the_sweeps(name: str, steps: int, random: bool, level: int) -> None:
    attack = Selection("any", "ap", "clean", name, level).engine_attack
    assert attack is not None
    assert (attack.steps, attack.random_start, attack.threat) == (steps, random, api.ThreatModel("Linf", level / 255))
    assert attack in (api.pgd(steps, level / 255), api.fgsm(attack.threat))


def test_no_attack_is_none() -> None:
    assert Selection("any", "ap", "clean", "none", 8).engine_attack is None


DEFAULT_QUERY = DEFAULTS | {"model": "a", "lam": "0.5"}


def test_a_link_of_this_version_is_not_stale() -> None:
    assert stale_values(DEFAULT_QUERY, ["a", "b"]) == []
    assert stale_values({}, ["a"]) == []
    assert stale_values({"embed": "true", "live_eps": "5"}, ["a"]) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "gone"),
        ("model", ""),
        ("model", "../a"),
        ("slide", "ap"),
        ("ns", "stored:1"),
        ("ns", "Clean"),
        ("ap", "0.5"),
        ("ap", "re-estimated"),
        ("attack", "pgd10"),
        ("attack", "AutoAttack"),
        ("eps", "8"),
        ("eps", "3/255"),
        ("eps", "-8/255"),
        ("lam", "banana"),
        ("lam", "1.01"),
        ("lam", "-0.01"),
        ("lam", "nan"),
        ("lam", "inf"),
        ("lam", ""),
    ],
)
def test_each_wrong_value_is_named(name: str, value: str) -> None:
    assert stale_values(DEFAULT_QUERY | {name: value}, ["a"]) == [name]


def test_several_wrong_values_are_all_named() -> None:
    assert sorted(stale_values({"model": "gone", "eps": "9", "lam": "x"}, ["a"])) == ["eps", "lam", "model"]


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1", 1.0), ("0.35", 0.35), ("5e-1", 0.5), (" 0.5 ", 0.5)])
def test_lambda_from_a_link(text: str, value: float) -> None:
    assert parse_lam(text) == value


@pytest.mark.parametrize("text", [None, "", "nan", "inf", "-inf", "-0.0001", "1.0001", "1e999", "0,5", "½", "0x1"])
def test_lambda_that_is_not_one(text: str | None) -> None:
    assert parse_lam(text) is None


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.title)
def test_presets_set_only_what_the_controls_offer(preset: Preset) -> None:
    assert stale_values({**preset.values, "lam": str(preset.lam)}, []) == []
    held = "ns" if SLIDES[preset.values["slide"]] == "ap" else "ap"
    assert set(preset.values) == {"slide", held, "attack", "eps"}
    assert preset.title
    assert preset.claim.endswith((".", "?"))


def test_a_preset_shows_until_a_control_is_moved() -> None:
    preset = PRESETS[0]
    there = Selection("any", "ap", "clean", "PGD-10", 8)
    assert preset.shows(there)
    for other in (
        Selection("any", "ns", "clean", "PGD-10", 8),
        Selection("any", "ap", "stored:0", "PGD-10", 8),
        Selection("any", "ap", "clean", "PGD-20", 8),
        Selection("any", "ap", "clean", "PGD-10", 4),
    ):
        assert not preset.shows(other)


def test_the_defaults_are_offered() -> None:
    assert stale_values(DEFAULTS, []) == []
    assert set(ATTACKS) >= {"none", DEFAULTS["attack"]}
