"""The Layers page: what it measures is the engine's own, every control reaches it, and bad links are named."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.components.mixer import mixed
from app.components.network import picked, stages
from app.layers import measures, mixing, views
from app.layers.measures import Question
from app.layers.mixing import Live, Mix, mix_text, parse_mix
from app.layers.views import Look
from app.shown import Shown
from app.takeaway.figure import Figure, drawn, table
from app.takeaway.tray import FIGURES
from engine import api
from engine.values import DESIGNS
from tests.app.conftest import ROOT, run
from tests.app.world import MAIN, write_cifar, write_swept
from tests.support import dual_resnet

Use = Callable[[Path], None]
LayersPage = Callable[..., AppTest]
ADV = api.branch_setting(api.Branch.ADV)


pytestmark = pytest.mark.usefixtures("clear_results")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "N", 16)
    monkeypatch.setattr(measures, "GROUP", 8)
    monkeypatch.setattr(mixing, "CHUNKS", ((0, 4), (4, 12)))


@pytest.fixture
def shown() -> Shown:
    model = dual_resnet().requires_grad_(False)
    images = api.load_data("shapes", "test", 40)
    return Shown(api.list_cards()[0][-1], model, api.Bench(model, images, images), (), {}, {}, {}, "", ())


@pytest.fixture
def layers_page(world: Path, use_checkpoints: Use) -> LayersPage:
    """Opens the page at query parameters; not by way of Explore, which would take out those that it shares."""
    use_checkpoints(world)

    def open_page(**query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=200)
        for key, value in query.items():
            at.query_params[key] = value
        return run(at.switch_page("screens/layers.py"))

    return open_page


def text(at: AppTest) -> str:
    return "\n".join(element.value for element in (*at.markdown, *at.caption))


def test_the_page_measures_by_itself_and_says_how(layers_page: LayersPage) -> None:
    said = text(layers_page())
    for part in (
        "n = 16",
        "PGD-10 at 8/255",
        "jackknife over 2 groups",
        "seed 0",
        "E3 E4 E6",
        "At equal AP there remains",
    ):
        assert part in said
    assert "white-box" in said


def test_controls_reach_what_is_measured(layers_page: LayersPage) -> None:
    at = layers_page(hold="true", eps="16/255", layer="blocks.0.bn1", at="clean")
    assert at.toggle(key="hold").value
    assert "PGD-10 at 16/255" in text(at)
    at.segmented_control(key="noise").set_value("random signs")
    at.segmented_control(key="metric").set_value("W1")
    at.number_input(key="channel").set_value(5)
    at = run(at)
    assert "Channel 5: the values themselves" in [title.value for title in at.subheader]
    assert "each side sorted" in text(at)


def test_an_override_is_judged_against_all_alike_and_reset(layers_page: LayersPage) -> None:
    at = layers_page(mix="2:0,5:0.5")
    (names,) = [value for value in text(at).split("\n") if "--layer" in value]
    assert "--layer blocks.0.bn2=0 --layer blocks.2.bn1=0.5" in names
    assert "change: paired, on 12 images" in names
    assert all("against" not in metric.label and metric.delta for metric in at.metric)
    at.button(key="mix_reset").click()
    assert "--layer" not in text(run(at))


def test_a_mix_that_cannot_be_is_named(layers_page: LayersPage) -> None:
    at = layers_page(mix="99:0")
    (warning,) = at.warning
    assert "is no layer's λ" in warning.value
    assert "n = 12" in text(at)


def test_a_link_that_asks_for_what_is_not_here_gets_one_note(layers_page: LayersPage) -> None:
    at = layers_page(layer="nowhere", eps="1/3", hold="maybe", channel="-1")
    (toast,) = at.toast
    for part in ("layer", "eps", "hold", "channel"):
        assert part in toast.value


@pytest.mark.parametrize("design", ["single", "dual-ap"])
def test_other_designs_say_what_is_shared(
    layers_page: LayersPage, use_checkpoints: Use, tmp_path: Path, design: str
) -> None:
    write_swept(tmp_path, MAIN, dual_resnet(design=DESIGNS[design]), DESIGNS[design])
    use_checkpoints(tmp_path)
    at = layers_page(hold="true")
    assert any(":material/info:" in value.value for value in at.markdown)
    assert ("there is nothing to mix" in text(at)) == (design != "dual-ap")


def test_without_images_the_stored_statistics_are_shown(
    layers_page: LayersPage, use_checkpoints: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path / "checkpoints", "cifar")
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("DUAL_BN_DATA", str(tmp_path / "data"))
    use_checkpoints(tmp_path / "checkpoints")
    at = layers_page(hold="true")
    assert at.toggle(key="hold").disabled
    assert "python -m engine data download cifar10" in at.info[0].value
    assert "stored, σ differs by a factor" in text(at)


def test_groups_together_are_the_engine_s_moments_of_all_images(shown: Shown) -> None:
    assert shown.bench is not None
    question = Question("sha", ADV, 8, "sign")
    parts = measures.measured(shown, question, lambda *_: None, lambda _: None)
    view = shown.bench.view(ADV)
    images, labels = shown.bench.test.tensors(0, 16)
    craft = api.crafting_network(view)
    attacked = [
        question.attack(craft, images[i : i + 8], labels[i : i + 8], generator=api.seeded(api.SEED, i)) for i in (0, 8)
    ]
    expected = {"clean": images, "attacked": torch.cat(attacked), "other": shown.bench.test.tensors(16, 32)[0]}
    for source, batch in expected.items():
        merged = measures.merged(parts, source)
        for layer, moments in api.measure(view, [batch]).items():
            torch.testing.assert_close(merged[layer].mean, moments.mean, rtol=1e-5, atol=1e-7)
            torch.testing.assert_close(merged[layer].var, moments.var, rtol=1e-5, atol=1e-7)
    rows = {(s.layer, s.metric, s.quantity): s for s in measures.gaps(parts, "attacked")}
    names = [name for name, _ in api.dual_layers(shown.model)]
    layer = names[0]
    shift = (measures.merged(parts, "attacked")[layer].mean - measures.merged(parts, "clean")[layer].mean).abs().mean()
    assert rows[layer, "paired", "mean"].value == pytest.approx(shift.item())
    assert all(s.low <= s.value <= s.high for s in rows.values())
    assert all(
        rows[name, "paired", q].value >= rows[name, "w1", q].value - 1e-12 for name in names for q in ("mean", "sigma")
    )
    assert sum(part.counts["attacked"][layer].sum() for part in parts) == sum(
        part.counts["clean"][layer].sum() for part in parts
    )


def test_interrupted_measuring_goes_on_where_it_stopped(shown: Shown) -> None:
    question = Question("sha", ADV, 8, "uniform")

    def stop(done: int, _: int) -> None:
        if done:
            raise api.Cancelled

    with pytest.raises(api.Cancelled):
        measures.measured(shown, question, stop, lambda _: None)
    assert measures.complete(shown, question) is None
    seen: list[int] = []
    parts = measures.measured(shown, question, lambda done, _: seen.append(done), lambda _: None)
    assert (seen, len(parts)) == ([1], 2)
    assert measures.complete(shown, question) is parts


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    """For one channel and the null against constant moments, the paired distance is |mean|: Student's interval."""
    values = [0.3, 0.5, 0.4, 0.9, 0.7, 0.2, 0.6, 0.8]

    def one(value: float) -> measures.Part:
        def at(mean: float) -> dict[str, api.Moments]:
            return {"bn": api.Moments(5, torch.tensor([mean]).double(), torch.ones(1).double())}

        return measures.Part({"clean": at(0.0), "attacked": at(value)}, {}, {}, 5)

    rows = {(s.metric, s.quantity): s for s in measures.gaps(tuple(map(one, values)), "attacked") if s.layer}
    found = rows["paired", "mean"]
    error = torch.tensor(values).double().std().item() / math.sqrt(len(values))
    assert found.value == pytest.approx(sum(values) / 8)
    assert found.high - found.value == pytest.approx(2.365 * error)


def test_verdicts_of_a_mix_are_the_bench_s_and_grow(shown: Shown) -> None:
    assert shown.bench is not None
    names = [name for name, _ in api.dual_layers(shown.model)]
    setting = Mix(1.0, "stored:1", ((2, 0.0), (3, 1.0))).setting(names)
    assert setting.overrides == ((names[2], api.LayerMix(0.0)),)
    live = Live("sha", setting, api.pgd(3, 8 / 255))
    found = list(mixing.refine(shown, live, lambda _: None))
    assert [len(v) for v in found] == [4, 12]
    clean = next(shown.bench.correct(api.Trial(setting, 12, api.SEED), [None]))
    assert torch.equal(found[-1].clean, clean)
    assert bool((found[-1].robust <= found[-1].clean).all())
    assert list(map(len, mixing.refine(shown, live, lambda _: None))) == [12]
    (moved, half), _ = mixing.change(found[-1], mixing.Verdicts(torch.ones(12).bool(), torch.zeros(12).bool()))
    assert moved == pytest.approx(clean.double().mean().item() - 1)
    assert half >= 0


def test_what_the_browser_sends_is_not_trusted() -> None:
    assert parse_mix(mix_text(((7, 0.0), (3, 0.55))), 8) == ((3, 0.55), (7, 0.0))
    for mix in ("8:0", "1:7", "x", "1:nan", "1:0.5,-1:0"):
        with pytest.raises(api.InputError, match="is no layer's"):
            parse_mix(mix, 8)
    assert mixed([0, 0.52, 7], 3) == (0.0, 0.5, 1.0)
    for bad in (None, [0, 1], ["1", 0, 0], [True, 0, 0], [math.nan, 0, 0]):
        assert mixed(bad, 3) is None
    assert picked({"layer": 1, "channel": 15}, [16, 8]) == {"layer": 1, "channel": 15}
    for bad in (None, 3, {"layer": 2}, {"layer": True}, {"channel": -1}, {"layer": "1"}):
        assert picked(bad, [16, 8]) == {}


def test_stages_follow_names_and_widths() -> None:
    names = ["bn", "blocks.0.bn1", "blocks.0.bn2", "blocks.1.bn1", "blocks.1.bn2", "blocks.1.shortcut.1"]
    found = stages(list(zip(names, (16, 16, 16, 32, 32, 32), strict=True)))
    assert [(stage.title, len(stage.blocks)) for stage in found] == [
        ("stem", 1),
        ("16 channels", 1),
        ("32 channels", 1),
    ]
    assert found[2].blocks[0].layers == (3, 4)
    assert found[2].blocks[0].skip == 5


def test_the_bars_of_a_layer_can_be_taken_away(layers_page: LayersPage) -> None:
    for held in ("false", "true"):
        at = layers_page(hold=held, layer="blocks.0.bn1", channel="3")
        figure: Figure = at.session_state[FIGURES]["Channel by channel"]
        rows: Any = table(figure)
        assert ("PGD-10 at 8/255" in figure.caption) == (held == "true")
        assert "blocks.0.bn1" in figure.caption
        assert drawn(figure, "", "pdf").startswith(b"%PDF")
        assert b"deviation" in drawn(figure, "", "svg")
        assert set(rows["quantity"]) == {"mean", "sigma"}
        assert len(set(rows["images"])) == 2


def test_a_figures_bars_are_the_networks_own(shown: Shown) -> None:
    layer = dict(api.dual_layers(shown.model))["blocks.0.bn1"]
    rows = views.channel_rows(shown.model, None, Look(False, api.Branch.ADV, "w1", "mean"), "blocks.0.bn1")
    for images, branch in zip(dict.fromkeys(rows["images"]), api.Branch, strict=True):
        mean, var = layer.statistics_row(branch)
        for quantity, wanted in (("mean", mean), ("sigma", var.sqrt())):
            mine = rows.loc[(rows["images"] == images) & (rows["quantity"] == quantity), "value"]
            torch.testing.assert_close(torch.tensor(mine.to_numpy()), wanted.double(), rtol=1e-6, atol=1e-6)
