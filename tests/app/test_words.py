"""The glossary is whole, help texts come from it, and the formulas' numbers are the layer's own."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from app.explore.formulas import formulas
from app.layers import measures, mixing
from app.shown import Shown
from app.words import glossary, word
from engine import api
from tests.app.conftest import ROOT, Explorer, run

ON_SCREEN = (
    "λ", "NS", "AP", "eps", "PGD", "FGSM", "APGD", "Square", "AutoAttack", "White-box", "Transfer attack", "n", "Seed",
    "95 % interval", "Clean accuracy", "Robust accuracy", "W1", "Null", "ECE", "Attribution", "TRADES", "Cross-NS",
    "Probability", "Logit", "Loss", "Unfolded network", "Held-out images", "Points", "Weights",
)  # fmt: skip


def test_every_term_on_screen_is_explained_once() -> None:
    terms = [term for entries in glossary().values() for term in entries]
    assert len(terms) == len(set(terms))
    assert all(word(term) for term in ON_SCREEN)
    assert all(len(text) > 20 for entries in glossary().values() for text in entries.values())
    with pytest.raises(KeyError):
        word("flux compensator")


def test_controls_explain_their_words(explorer: Explorer) -> None:
    at = explorer()
    assert at.selectbox(key="eps").help == word("eps")
    assert at.segmented_control(key="attack").help == word("FGSM", "PGD", "White-box")


OBVIOUS = {"Image", "Colour", "Background", "Brush", "Network", "Figure", "Look for", "Show", "Networks trained on"}
"""Controls whose name says it all."""
PAGES = ("explore", "compare", "layers", "attack", "attribution", "image", "models", "tour")


@pytest.mark.parametrize("page", PAGES)
def test_every_control_and_introduction_explains_its_words(
    page: str, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has a name of ours has a sign to rest the mouse on."""
    monkeypatch.setattr(measures, "N", 16)
    monkeypatch.setattr(measures, "GROUP", 8)
    monkeypatch.setattr(mixing, "CHUNKS", ((0, 4), (4, 12)))
    at = explorer() if page == "explore" else run(open_page(f"screens/{page}.py"))
    kinds = ("selectbox", "segmented_control", "slider", "number_input", "toggle", "multiselect", "button_group")
    controls: list[Any] = [element for kind in kinds for element in at.get(kind)]
    assert controls
    assert sorted({one.label for one in controls if not one.help} - OBVIOUS) == []
    assert any(element.help for element in (*at.markdown, *at.caption))


def open_page(script: str) -> AppTest:
    return AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=200).switch_page(script)


def words_page(**query: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=60).switch_page("screens/words.py")
    for key, value in query.items():
        at.query_params[key] = value
    return run(at)


@pytest.mark.usefixtures("explorer")
def test_the_page_shows_all_finds_some_and_says_when_there_is_none() -> None:
    assert len(words_page().subheader) == len(glossary())
    found = "\n".join(markdown.value for markdown in words_page(word="black-box").markdown)
    assert "**Square**" in found
    assert "**TRADES**" not in found
    assert "No term here" in words_page(word="zzz").markdown[-1].value


def test_the_last_formula_is_what_batch_norm_computes(shown: Shown) -> None:
    """slope x + offset against nn.BatchNorm2d itself."""
    name, layer = next(iter(api.dual_layers(shown.model)))
    text = formulas(shown, api.NormSetting(0.3, api.Stored(0.8)), name)
    found = re.search(r"= (-?[\d.]+)\\,x ([+-][\d.]+)", text)
    channel = re.search(r"channel (\d+)", text)
    assert found is not None
    assert channel is not None
    bn: nn.BatchNorm2d = layer.frozen(0.3, 0.8).eval()
    x = torch.linspace(-2, 2, 5).view(1, 1, 1, 5).expand(1, layer.num_features, 1, 5)
    y = bn(x)[0, int(channel[1]), 0]
    torch.testing.assert_close(float(found[1]) * x[0, 0, 0] + float(found[2]), y, atol=3e-3, rtol=0)
    assert "measured anew" in formulas(shown, api.NormSetting(0.3, api.Reestimated("clean")), name)
