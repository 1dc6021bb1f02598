"""docs/notebook.ipynb: its code cells run in order as they stand, and say what the files and cards say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import api

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


def cells() -> list[dict[str, Any]]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_it_was_saved_without_outputs() -> None:
    assert [cell["id"] for cell in cells() if cell.get("outputs") or cell.get("execution_count")] == []


def test_its_cells_run_and_tell_the_story(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for cell in cells():
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)  # noqa: S102
    card = api.load_card(api.checkpoint_folder("shapes-dual-bn"))
    wanted = sorted(100 * record.n_correct / record.n for record in card.records)
    assert sorted(names["headline"]["right, %"]) == pytest.approx(wanted, abs=0.051)  # rounded to 0.1
    curves: Any = names["curves"]
    assert set(curves.groupby(["what moves", "accuracy"]).size()) == {len(api.STOPS)}
    robust = curves.query("accuracy == 'robust' and `what moves`.str.startswith('AP')").set_index("lambda")["value"]
    measured = names["measured"].interval
    assert 100 * measured.low <= robust[1.0] <= 100 * measured.high
    means = names["gaps"].groupby("gap")["distance"].mean()
    assert means["at equal AP"] < means["stored by the two branches"] / 2
    assert names["picture"].to_dict()["facet"]["field"] == "what moves"
    assert "weights " + card.weights_sha256[:8] in capsys.readouterr().out
