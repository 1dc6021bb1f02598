"""The paper: every claim with its verdict and numbers, whatever lies in the folder and the address asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import jsonschema
import pytest
from streamlit.testing.v1 import AppTest

from app.charts.evidence import ADV, CLEAN, colours, ends_of, rows_of
from app.charts.findings import panels
from app.paper.claim import label
from engine import api
from engine.experiments import save_finding
from tests.app.conftest import run
from tests.app.evidence import FAMILIES, LAYERS, around, bars, cross, distances, finding, findings, write_findings
from tests.support import write_checkpoint

Use = Callable[[Path], None]
Open = Callable[..., AppTest]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def paper(use_checkpoints: Use, tmp_path: Path) -> Open:
    """Opens the page on findings made up by a formula, at the given query parameters."""
    write_findings(tmp_path / api.FINDINGS)
    use_checkpoints(tmp_path)

    def open_page(**query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=100).switch_page("screens/paper.py")
        for key, value in query.items():
            at.query_params[key] = value
        return run(at)

    return open_page


def text(at: AppTest) -> str:
    return "\n".join(element.value for element in (*at.title, *at.markdown, *at.caption, *at.header, *at.subheader))


def claims(at: AppTest) -> list[str]:
    """Experiments whose row is there."""
    return [button.key.removeprefix("open_") for button in at.button if button.key and button.key.startswith("open_")]


def test_every_claim_stands_with_its_verdict_its_numbers_and_the_other_family(paper: Open) -> None:
    at = paper()
    assert claims(at) == ["E0", "E3", "E7"]
    shown = text(at)
    assert shown.count("2 hold]") == 1
    assert shown.count("1 fails]") == 1
    assert shown.count("0 fail]") == 1
    assert shown.count("1 undecided]") == 2
    assert "n = 2,000 · PGD-20 at 8/255 · seed 0" in shown
    assert r"\[-2.2, +3.8\] points, and \$5 for \*nobody\*" in shown
    (across,) = [m.value for m in at.markdown if "CIFAR-10, ResNet-20:" in m.value and "fails" in m.value]
    assert ":red-badge[" in across
    assert "**p1** (E0)" in shown
    assert not at.dataframe
    assert len(at.get("vega_lite_chart")) == 5


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"verdict": "holds"}, ["E3", "E7"]),
        ({"verdict": "fails"}, []),
        ({"verdict": "fails", "family": "cifar10-resnet20"}, ["E3"]),
        ({"verdict": "undecided"}, ["E0"]),
    ],
)
def test_claims_can_be_filtered(paper: Open, query: dict[str, str], expected: list[str]) -> None:
    at = paper(**query)
    assert claims(at) == expected
    assert ("No claim fails here." in text(at)) == (not expected)


def test_a_link_opens_a_claim_with_everything_about_it(paper: Open) -> None:
    at = paper(claim="E7", family="cifar10-resnet20")
    assert at.title[0].value == "What the paper says in E7."
    shown = text(at)
    assert all(part in shown for part in ("One seed a network", "engine 0.1.0", "`aaaaaaaa`", "12.5 s"))
    assert at.code[0].value == "python -m engine paper E7 --family cifar10-resnet20"
    assert len(at.get("vega_lite_chart")) == 3
    assert not at.dataframe
    assert not at.toast
    at.button(key="back").click()
    assert claims(run(at)) == ["E0", "E3", "E7"]


def test_a_claim_opens_on_a_click(paper: Open) -> None:
    at = paper()
    at.button(key="open_E3").click()
    assert run(at).title[0].value == "What the paper says in E3."
    at.button(key="next").click()
    assert run(at).title[0].value == "What the paper says in E7."


@pytest.mark.parametrize(
    "query",
    [{"claim": "E99"}, {"claim": "<b>"}, {"verdict": "maybe"}, {"family": "nobody"}, {"claim": "", "family": ""}],
)
def test_what_the_address_asks_for_in_vain_is_said_once(paper: Open, query: dict[str, str]) -> None:
    at = paper(**query)
    assert claims(at) == ["E0", "E3", "E7"]
    assert len(at.toast) == 1
    assert ", ".join(query) in at.toast[0].value
    assert not run(at).toast


def test_damaged_files_are_named_and_the_others_shown(paper: Open, tmp_path: Path) -> None:
    folder = tmp_path / api.FINDINGS / "shapes"
    (folder / "E1.json").write_text('{"schema": 1}')
    (folder / "E2.json").write_bytes(b"\xff\x00")
    one = finding("E4", "shapes").as_json()
    (folder / "E4.json").write_text(json.dumps(one | {"verdict": "perhaps"}))
    at = paper()
    damaged = [c.value for c in at.caption if "warning" in c.value]
    assert sorted(c.split("paper/shapes/")[1][:2] for c in damaged) == ["E1", "E2", "E4"]
    assert all("python -m engine paper" in c and str(tmp_path) not in c for c in damaged)
    assert claims(at) == ["E0", "E3", "E7"]


def test_a_file_that_changes_is_read_again(paper: Open, tmp_path: Path) -> None:
    at = paper()
    save_finding(tmp_path / api.FINDINGS, finding("E0", "shapes", sentence="Now it is another."))
    assert "Now it is another." in text(run(at))


def test_a_stale_finding_says_what_to_run(paper: Open, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "shapes-dual-bn")
    old = finding("E0", "shapes", checkpoints={"shapes-dual-bn": "0" * 64})
    save_finding(tmp_path / api.FINDINGS, old)
    for at in (paper(), paper(claim="E0")):
        (note,) = [m.value for m in at.markdown if "other weights of shapes-dual-bn" in m.value]
        assert old.command in note


def test_without_findings_a_sentence_names_the_command(paper: Open, use_checkpoints: Use, tmp_path: Path) -> None:
    use_checkpoints(tmp_path / "empty")
    at = paper(claim="E3", family="shapes")
    assert "`python -m engine paper`" in text(at)
    assert not at.button
    assert not at.toast


def test_questions_beyond_the_paper_stand_apart(paper: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(api.EXPERIMENTS["E0"], name="B1", beyond=True)
    monkeypatch.setitem(api.EXPERIMENTS, "B1", known)
    monkeypatch.setitem(api.EXPERIMENTS, "B2", replace(known, name="B2"))
    save_finding(tmp_path / api.FINDINGS, finding("B1", "shapes", verdict="fails"))
    at = paper()
    assert "Beyond the paper" in [h.value for h in at.header]
    assert claims(at) == ["E0", "E3", "E7", "B1"]
    assert "1 fails]" in text(at)  # CIFAR-10's E3, and not B1
    assert "B2 --family shapes" in text(at)


def test_only_links_into_the_app_are_offered(paper: Open, tmp_path: Path) -> None:
    for name, link in (("E0", "https://elsewhere.example"), ("E3", "//elsewhere.example"), ("E7", "javascript:x()")):
        save_finding(tmp_path / api.FINDINGS, finding(name, "shapes", link=link))
    assert not paper().get("link_button")
    assert len(paper(family="cifar10-resnet20").get("link_button")) == 3


def specs(one: api.Finding, small: bool = False) -> list[dict[str, Any]]:
    return [panel.spec for index in range(len(one.charts)) for panel in panels(one, index, small)]


def specs_of(table: Any, chart: Any) -> list[dict[str, Any]]:
    return specs(finding("E3", "shapes", tables=(table,), charts=(chart,)))


@pytest.mark.parametrize("small", [False, True])
def test_charts_are_valid(small: bool) -> None:
    """By Altair, against Vega-Lite's schema; a chart that is not valid would raise."""
    shipped = api.load_findings(api.CHECKPOINTS / api.FINDINGS, api.list_cards()[0])[0]
    every = [*findings("shapes"), *shipped]
    made = [spec for one in every for spec in specs(one, small)]
    assert len(made) >= sum(len(one.charts) for one in every) > 20
    for spec in made:
        alt.Chart.from_dict(spec)
    with pytest.raises(jsonschema.ValidationError):
        alt.Chart.from_dict({**made[0], "mark": "nonsense"})


@pytest.mark.parametrize("small", [False, True])
def test_every_kind_of_chart_holds_every_row(small: bool) -> None:
    for one in findings(FAMILIES[0]):
        for index, chart in enumerate(one.charts):
            values = [row for p in panels(one, index, small) for row in p.spec["data"]["values"]]
            rows = [
                row
                for row in one.table(chart.table).rows
                if row[one.table(chart.table).columns.index(chart.y)] is not None
            ]
            times = 100 if chart.percent else 1
            at = one.table(chart.table).columns.index(chart.y)
            assert sorted(v["y"] for v in values) == pytest.approx(sorted(times * float(row[at] or 0) for row in rows))


def test_intervals_are_drawn_and_panels_share_their_scale() -> None:
    table, chart = bars()
    both = specs(finding("E0", "shapes", tables=(table,), charts=(chart,)))
    assert len(both) == 2
    assert {"low", "high"} <= {name for spec in both for name in _fields(spec)}
    assert all('"domain": [0.0, 100.0]' in json.dumps(spec) for spec in both)


def _fields(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [v for k, v in value.items() if k == "field"] + [f for v in value.values() for f in _fields(v)]
    return [f for v in value for f in _fields(v)] if isinstance(value, list) else []


def test_series_that_most_places_lack_are_named_with_the_place() -> None:
    table, chart = bars()
    names = {
        row["x"]
        for spec in specs(finding("E0", "shapes", tables=(table,), charts=(chart,)))
        for row in spec["data"]["values"]
    }
    assert names == {"standard", "madry", "single", "dual-bn, clean", "dual-bn, adversarial"}


def test_what_a_log_axis_cannot_hold_is_left_out() -> None:
    table, chart, _ = distances()
    rows = tuple((d, layer, s, 0.0 if d == 3 else v, -1.0, h) for d, layer, s, v, _, h in table.rows)
    shown = rows_of(finding("E3", "shapes", tables=(replace(table, rows=rows),), charts=(chart,)), 0)
    assert len(shown) == 3 * (len(LAYERS) - 1)
    assert min(shown["low"]) > 0


def test_a_chart_without_a_value_is_not_drawn() -> None:
    _, effects, charts = cross()
    empty = replace(effects, rows=(("AP", None, None, None),))
    assert panels(finding("E7", "shapes", tables=(empty,), charts=charts[1:]), 0) == []


def test_thousands_of_rows_are_drawn() -> None:
    table, chart, _ = distances()
    many = replace(
        table, rows=tuple((d, "", "a", *row[3:]) for d, row in zip(range(6000), table.rows * 112, strict=False))
    )
    (spec,) = specs(finding("E3", "shapes", tables=(many,), charts=(chart,)))
    assert len(spec["data"]["values"]) == 6000


def test_panels_of_other_units_have_scales_of_their_own() -> None:
    table, chart, _ = distances()
    chart = replace(chart, y_scale="linear", facet="source", series="")
    tops = [spec["layer"][-1]["encoding"]["y"]["scale"]["domain"][1] for spec in specs_of(table, chart)]
    assert tops == pytest.approx([0.53, 0.018, 0.021], rel=0.1)
    alike = tuple((*row[:3], *around(0.3, 0.01)) for row in table.rows)
    tops = [
        spec["layer"][-1]["encoding"]["y"]["scale"]["domain"][1] for spec in specs_of(replace(table, rows=alike), chart)
    ]
    assert len(set(tops)) == 1


def test_clean_and_adversarial_keep_their_colours() -> None:
    assert colours(["stored", "adversarial AP", "clean AP"])[1:] == [ADV, CLEAN]
    assert colours(["clean NS", "clean AP", "clean or adversarial"]).count(CLEAN) == 1
    many = colours([str(i) for i in range(30)])
    assert len(many) == 30
    assert not {CLEAN, ADV} & set(many)


def test_the_value_axis_holds_every_interval() -> None:
    for one in findings("shapes"):
        for index, chart in enumerate(one.charts):
            rows = rows_of(one, index)
            low, high = ends_of(rows, chart)
            assert low <= min(rows["low"])
            assert max(rows["high"]) <= high or (chart.percent and high == 100)


def test_a_family_is_named_for_people() -> None:
    assert [label(name) for name in ("shapes", "cifar10-resnet20", "cifar10-resnet20-long", "cifar10-wrn-16-4")] == [
        "shapes (built in)",
        "CIFAR-10, ResNet-20",
        "CIFAR-10, ResNet-20, longer training",
        "cifar10-wrn-16-4".replace("cifar10", "CIFAR-10"),
    ]
