"""The pages on the checkpoints that are shipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from engine import api

MAIN = Path(__file__).parents[2] / "app" / "main.py"
CARDS = {card.name: card for card in api.list_cards()[0]}


@pytest.fixture(autouse=True)
def _nothing_cached_of_other_folders() -> Iterator[None]:
    """Before and after: this file shows the shipped checkpoints, others a folder of their own."""
    forget()
    yield
    forget()


def forget() -> None:
    st.cache_resource.clear()
    st.cache_data.clear()


def opened(**query: str) -> AppTest:
    """The Explore page after its first run with these URL parameters."""
    page = AppTest.from_file(str(MAIN), default_timeout=100)
    page.session_state["painted"] = True
    for key, value in query.items():
        page.query_params[key] = value
    return page.run()


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.data["name"] == "shapes"])
def test_every_built_in_checkpoint_opens_with_what_was_precomputed(name: str) -> None:
    page = opened(model=name, lam="1")
    assert not page.exception
    assert not page.error
    assert not page.toast
    assert "Robust accuracy" in {metric.label for metric in page.metric}
    assert not [caption.value for caption in page.caption if "warning" in caption.value]


@pytest.mark.parametrize("name", list(CARDS))
def test_every_checkpoint_opens_on_the_attack_page(name: str) -> None:
    """With its film where the images are here, with a sentence where they are not."""
    page = AppTest.from_file(str(MAIN), default_timeout=100).switch_page("screens/attack.py")
    for key, value in {"model": name, "ns": "clean", "steps": "1", "look": "Steps"}.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    assert not page.error
    assert not page.toast
    opened = [caption.value for caption in page.caption if "white-box through its own network" in caption.value]
    assert len(opened) + len(page.info) == 1


def test_first_screen_shows_the_swept_accuracies() -> None:
    page = opened(lam="1")
    wanted = api.NormSetting(1.0, api.Reestimated("clean"))
    path = api.checkpoint_folder("shapes-dual-bn") / "sweep.jsonl"
    records = {r.attack: r for r in api.load_sweep(path, {}) if r.setting == wanted}
    clean, robust = records[None].interval, records[api.pgd(10, api.MAIN_EPS)].interval
    shown = {metric.label: metric.value for metric in page.metric}
    assert shown["Clean accuracy"] == f"{100 * clean.value:.1f} %"
    assert shown["Robust accuracy"] == f"{100 * robust.value:.1f} %"
