"""Models and data: every figure comes from a card, and the page opens whatever the checkpoints are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import cache
from app.charts.models import ANCHORS, branch_rows, class_rows, label_places, pareto_front, scatter
from engine import api
from engine.cards import Breakdown
from engine.checkpoint import save_card
from engine.convert import convert
from tests.app.conftest import Explorer, run
from tests.app.world import MAIN, drop_field, headline, write_swept
from tests.convert.public import public, request, write
from tests.support import write_checkpoint

Use = Callable[[Path], None]
ROOT = api.CHECKPOINTS
SHIPPED = {card.name: card for card in api.list_cards()[0]}


def models(explorer: Explorer) -> AppTest:
    """The page as its link in the navigation opens it."""
    return run(explorer().switch_page("screens/models.py"))


def test_the_table_holds_the_figures_of_the_cards(explorer: Explorer) -> None:
    table = models(explorer).dataframe[0].value
    assert table["checkpoint"].tolist() == [MAIN, MAIN]
    assert table["branch"].tolist() == ["clean", "adversarial"]
    records = headline()
    for row, (clean, robust) in zip(table.to_dict("records"), (records[:2], records[2:]), strict=True):
        for kind, record in (("clean", clean), ("robust", robust)):
            assert row[kind] == pytest.approx(100 * record.interval.value)
            assert row[f"{kind}_interval"] == f"{100 * record.interval.low:.1f} to {100 * record.interval.high:.1f}"
        assert (row["design"], row["network"], row["n"], row["images_seen"], row["eps"]) == (
            "dual BN", "resnet14-s2", 1000, 120_000, "8/255",
        )  # fmt: skip


def test_a_network_with_one_branch_has_one_row_and_trades_says_so() -> None:
    single = SHIPPED["shapes-single"]
    rows = branch_rows([single, replace(single, config=single.config | {"loss": "trades", "beta": 6.0})])
    assert rows["branch"].tolist() == ["shared", "shared"]
    assert rows["learned_from"].tolist() == ["clean and attacked", "TRADES, beta 6"]
    own = {"shapes-dual-bn", "shapes-dual-ap", "shapes-dual-ns", "shapes-single", "shapes-madry", "shapes-standard"}
    assert len(branch_rows(card for name, card in SHIPPED.items() if name in own)) == 3 * 2 + 3


def test_nothing_on_the_front_is_beaten_and_everything_off_it_is() -> None:
    """Against the definition, on all pairs."""
    frame = pd.DataFrame({"clean": [90, 80, 85, 80, 95, 60], "robust": [10, 50, 40, 30, 10, 50]})
    front = set(pareto_front(frame).index)
    assert front == {1, 2, 4}
    points = list(zip(frame["clean"], frame["robust"], strict=True))
    for index, (clean, robust) in enumerate(points):
        beaten = any(c >= clean and r >= robust and (c, r) != (clean, robust) for c, r in points)
        assert (index in front) != beaten


def test_a_front_holds_networks_of_one_budget() -> None:
    """What was trained for longer beats all others, and hides none of their front."""
    rows = branch_rows(card for name, card in SHIPPED.items() if name.startswith("cifar10-resnet20"))
    assert set(rows["family"]) == {"cifar10-resnet20", "cifar10-resnet20-long"}
    layer = scatter(rows, ()).to_dict()
    front = next(part for part in layer["layer"] if part["mark"].get("strokeDash"))
    drawn = pd.DataFrame(layer["datasets"][front["data"]["name"]])
    assert front["encoding"]["detail"]["field"] == "family"
    alone = pareto_front(rows.query("family == 'cifar10-resnet20'"))
    assert set(alone["checkpoint"]) < set(drawn["checkpoint"])


def test_labels_never_stand_on_each_other() -> None:
    names = ["dual-bn", "dual-ap", "single", "dual-ns", "madry"]
    points = list(zip([97.0, 97.1, 97.2, 97.05, 50.0], [60.0, 59.9, 60.1, 59.0, 60.0], names, strict=True))
    places = label_places(points, (0.0, 100.0), (0.0, 100.0))
    assert places[4] == (51.0, 60.0)  # nothing in its way: beside its point
    wide, high = 6.5 / 1000 * 100, 14 / 265 * 100
    for (left, middle), (_, _, text) in zip(places, points, strict=True):
        for (other, level), (_, _, name) in zip(places, points, strict=True):
            apart = left >= other + wide * len(name) or other >= left + wide * len(text)
            assert text == name or apart or abs(middle - level) >= high - 1e-9, (text, name)
        assert left >= 0
        assert left + wide * len(text) <= 100


def test_labels_are_not_written_on_the_bars() -> None:
    ((left, middle),) = label_places([(50.0, 60.0, "wide")], (0.0, 100.0), (0.0, 100.0), [(30.0, 60.0, 70.0)])
    assert abs(middle - 60.0) >= 7 / 265 * 100
    assert 30 < left < 70


def test_labels_are_not_written_on_the_front() -> None:
    """Every piece of the drawn line against every label's box, in pixels."""
    rows = branch_rows(card for name, card in SHIPPED.items() if name.startswith("shapes"))
    layer = scatter(rows, ()).to_dict()
    front, text = (next(p for p in layer["layer"] if key in p["mark"]) for key in ("strokeDash", "fontSize"))
    line = pd.DataFrame(layer["datasets"][front["data"]["name"]]).sort_values("clean")
    wide, high = (front["encoding"][axis]["scale"]["domain"] for axis in ("x", "y"))
    px, py = (wide[1] - wide[0]) / 1000, (high[1] - high[0]) / 265
    x = np.linspace(line["clean"].min(), line["clean"].max(), 20_000)
    y = np.interp(x, line["clean"], line["robust"])
    for label in layer["datasets"][text["data"]["name"]]:
        left, middle = label["label_x"], label["label_y"]
        across = (left + px < x) & (x < left + (6.5 * len(label["short"]) - 1) * px)
        assert not (across & (abs(y - middle) < 6 * py)).any(), label["short"]


def test_published_results_stand_apart_and_name_their_source() -> None:
    rows = branch_rows(SHIPPED.values()).query("data == 'cifar10'")
    with_anchors = json.dumps(scatter(rows, ANCHORS).to_dict())
    without = json.dumps(scatter(rows, ()).to_dict())
    for anchor in ANCHORS:
        assert anchor.label in with_anchors
        assert anchor.label not in without
        assert "arXiv" in anchor.source


def test_classes_are_counted_as_the_card_says(
    explorer: Explorer, use_checkpoints: Use, tmp_path: Path
) -> None:  # fmt: skip
    folder = write_swept(tmp_path, MAIN)
    card = api.load_card(folder)
    setting, attack = api.branch_setting(api.Branch.ADV), api.pgd(20, api.MAIN_EPS)
    clean = Breakdown(setting, None, (100,) * 10, tuple(range(90, 100)), 0.0212)
    robust = Breakdown(setting, attack, (100,) * 10, tuple(range(40, 50)), None)
    card = replace(card, breakdowns=(clean, robust))
    save_card(folder, card)
    rows = class_rows(card, api.Branch.ADV)
    assert rows.query("kind == 'robust'")["accuracy"].tolist() == pytest.approx(list(range(40, 50)))
    assert class_rows(card, api.Branch.CLEAN).empty
    use_checkpoints(tmp_path)
    at = models(explorer)
    assert any("calibration error on clean images: 2.1 points" in caption.value for caption in at.caption)
    at.segmented_control(key="branch").set_value("clean")
    assert any(f"python -m engine headline {MAIN}" in caption.value for caption in run(at).caption)


def test_a_card_can_be_chosen_read_whole_and_taken_away(explorer: Explorer) -> None:
    at = models(explorer)
    for card in api.list_cards()[0]:
        at.selectbox(key="card").set_value(card.name)
        run(at)
        assert at.code[0].value == card.command
        assert json.loads(at.json[0].value) == json.loads(json.dumps(card.as_json()))
        assert {"Card", "Weights"} <= {button.proto.label for button in at.get("download_button")}


def test_one_checkpoint_is_among_those_of_the_chosen_images(explorer: Explorer, use_checkpoints: Use) -> None:
    use_checkpoints(ROOT)
    at = explorer(card="cifar10-resnet20-madry")
    at = run(at.switch_page("screens/models.py"))
    assert (at.segmented_control(key="data").value, at.selectbox(key="card").value) == (
        "cifar10", "cifar10-resnet20-madry",
    )  # fmt: skip
    assert not at.toast
    at.segmented_control(key="data").set_value("shapes")
    assert run(at).selectbox(key="card").value == MAIN
    at.segmented_control(key="data").set_value("cifar10")
    assert run(at).selectbox(key="card").value == "cifar10-resnet20-dual-bn"


def test_a_link_to_what_is_not_here_says_so(explorer: Explorer) -> None:
    at = run(explorer(data="nope", card="gone", published="perhaps").switch_page("screens/models.py"))
    (toast,) = at.toast
    assert "(data, card, published)" in toast.value
    assert at.selectbox(key="card").value == MAIN


def test_a_converted_network_says_where_it_came_from_and_claims_no_training(
    explorer: Explorer, use_checkpoints: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged on images of one's own, at first outside of the data folder: the page opens and says so."""
    np.savez(tmp_path / "own.npz", images=np.zeros((60, 32, 32, 3), np.uint8), labels=np.arange(60) % 10)
    file = write(tmp_path / "my_*net*.safetensors", public().state_dict())
    root, own = tmp_path / "root", str(tmp_path / "own.npz")
    card = convert(file, root, request(data=own))
    save_card(root / "mine", replace(card, records=headline()))
    use_checkpoints(root)
    at = models(explorer)
    rows = branch_rows(api.list_cards()[0])
    assert rows[["images_seen", "minutes"]].isna().to_numpy().all()
    assert at.dataframe[0].value["learned_from"].tolist() == ["not known", "not known"]
    said = next(m.value for m in at.markdown if m.value.startswith(":material/input:")).replace("\\", "")
    assert card.origin in said
    assert "my_*net*.safetensors" in said
    monkeypatch.setenv("DUAL_BN_DATA", str(tmp_path / "elsewhere"))
    assert "not in the data folder" in cache.shown("mine", card.weights_sha256).problem
    cache.shown.clear()
    monkeypatch.setenv("DUAL_BN_DATA", str(tmp_path))
    bench = cache.shown("mine", card.weights_sha256).bench
    assert bench is not None
    assert (bench.test.name, len(bench.test)) == (own, 12)


def test_a_damaged_log_is_left_out(explorer: Explorer, use_checkpoints: Use, tmp_path: Path) -> None:
    folder = write_swept(tmp_path, MAIN)
    (folder / "log.csv").write_text("nonsense\n1")
    use_checkpoints(tmp_path)
    assert any("without a training log" in caption.value for caption in models(explorer).caption)


def test_data_limits_and_licence_are_stated(explorer: Explorer) -> None:
    text = "\n".join(markdown.value for markdown in models(explorer).markdown)
    for part in ("## Data", "## Limits", "licence", "python -m engine data download cifar10"):
        assert part in text


def test_damaged_cards_are_named_beside_the_table(explorer: Explorer, use_checkpoints: Use, tmp_path: Path) -> None:
    write_swept(tmp_path, MAIN)
    drop_field(write_checkpoint(tmp_path, "broken") / "card.json", "design")
    use_checkpoints(tmp_path)
    at = models(explorer)
    assert any("broken/card.json lacks 'design'" in caption.value for caption in at.caption)
    assert set(at.dataframe[0].value["checkpoint"]) == {MAIN}


def test_without_checkpoints_the_page_still_tells_about_the_data(
    explorer: Explorer, use_checkpoints: Use, tmp_path: Path
) -> None:
    use_checkpoints(tmp_path)
    at = models(explorer)
    assert not at.dataframe
    assert at.title[0].value == "What was trained, and on what?"
