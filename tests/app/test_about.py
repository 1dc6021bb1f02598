"""Models and data: every figure comes from a card, and the page opens whatever the checkpoints are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from engine import api
from tests.app.conftest import Explorer, run
from tests.app.world import MAIN, drop_field, headline, write_swept
from tests.support import write_checkpoint

Use = Callable[[Path], None]
DASH = "—"


def about(explorer: Explorer) -> AppTest:
    """The page as its link in the navigation opens it."""
    return run(explorer().switch_page("screens/about.py"))


def shown_figure(record: api.EvalRecord) -> str:
    i = record.interval
    return f"{100 * i.value:.1f} % ({100 * i.low:.1f} to {100 * i.high:.1f})"


def test_the_table_holds_the_figures_of_the_cards(explorer: Explorer) -> None:
    table = about(explorer).dataframe[0].value.set_index("checkpoint")
    assert list(table.index) == ["bare", MAIN]
    columns = [f"{branch} branch, {kind}" for branch in ("clean", "adversarial") for kind in ("clean", "robust")]
    assert [table.loc[MAIN, column] for column in columns] == [shown_figure(record) for record in headline()]
    assert [table.loc["bare", column] for column in columns] == [DASH] * 4
    assert table.loc[MAIN, ["design", "network", "n", "images seen", "trained in"]].tolist() == [
        "dual BN", "resnet14-s2", 1000, 120_000, "2 min",
    ]  # fmt: skip
    assert table.loc["bare", "n"] == 0


def test_a_card_can_be_chosen_and_read_whole(explorer: Explorer) -> None:
    at = about(explorer)
    for card in api.list_cards()[0]:
        at.selectbox(key="card").set_value(card.name)
        run(at)
        assert at.code[0].value == card.command
        assert json.loads(at.json[0].value) == json.loads(json.dumps(card.as_json()))


def test_data_limits_and_licence_are_stated(explorer: Explorer) -> None:
    text = "\n".join(markdown.value for markdown in about(explorer).markdown)
    for part in ("## Data", "## Limits", "licence", "python -m engine data download cifar10"):
        assert part in text


def test_damaged_cards_are_named_beside_the_table(explorer: Explorer, use_checkpoints: Use, tmp_path: Path) -> None:
    write_swept(tmp_path, MAIN)
    drop_field(write_checkpoint(tmp_path, "broken") / "card.json", "design")
    use_checkpoints(tmp_path)
    at = about(explorer)
    assert any("broken/card.json lacks 'design'" in caption.value for caption in at.caption)
    assert list(at.dataframe[0].value["checkpoint"]) == [MAIN]


def test_without_checkpoints_the_page_still_tells_about_the_data(
    explorer: Explorer, use_checkpoints: Use, tmp_path: Path
) -> None:
    use_checkpoints(tmp_path)
    at = about(explorer)
    assert not at.dataframe
    assert at.title[0].value == "What was trained, and on what?"
