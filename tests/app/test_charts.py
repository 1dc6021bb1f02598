"""Charts and picture sheets without Streamlit: what is drawn are the network's tensors and the sweep's counts."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app.charts.layers import ADV, CLEAN, QUANTITIES, affine_chart, channels, distance_chart, distances, histogram
from app.charts.pictures import GAP, SCALE, magnified, sheet
from app.charts.plane import plane, plane_chart
from engine import api
from engine.values import DESIGNS, DUAL_BN, NormDesign
from tests.app.world import N, n_correct, record
from tests.support import dual, snapshot


def rows_of(chart: Any) -> list[dict[str, Any]]:
    """The only data set of a chart."""
    (rows,) = chart.to_dict()["datasets"].values()
    return rows


# --- distances between the branches -----------------------------------------------------------------------------------


def set_layer(model: torch.nn.Module, weight: tuple[list[float], list[float]]) -> None:
    """Gives the first dual layer of `dual()` known scales, shifts, means and variances."""
    _, layer = next(api.dual_layers(model))
    with torch.no_grad():
        for branch in api.Branch:
            layer.weight[branch].copy_(torch.tensor(weight[branch]))
            layer.bias[branch].fill_(2.0 * branch)
            layer.mean[branch].fill_(-3.0 * branch)
            layer.var[branch].fill_(4.0 if branch else 9.0)


def test_distances_by_hand() -> None:
    model = dual()
    # Sorted: 0 1 2 3 4 5 against 1 1 2 3 4 8: W1 = (1 + 0 + 0 + 0 + 0 + 3) / 6, whichever channel holds which value.
    set_layer(model, ([5, 4, 3, 2, 1, 0], [1, 8, 1, 2, 3, 4]))
    frame: Any = distances(model)
    first = frame[frame["depth"] == 0].set_index("quantity")["distance"]
    assert first.to_dict() == pytest.approx(
        {"scale γ (AP)": 4 / 6, "shift β (AP)": 2.0, "mean μ (NS)": 3.0, "deviation σ (NS)": 1.0}
    )


def test_distances_against_numpy() -> None:
    model = dual()
    frame: Any = distances(model)
    assert list(frame.columns) == ["depth", "layer", "quantity", "distance"]
    assert len(frame) == 4 * len(list(api.dual_layers(model)))
    for depth, (name, layer) in enumerate(api.dual_layers(model)):
        mine = frame[frame["layer"] == name].set_index("quantity")["distance"]
        pairs = {"weight": layer.weight, "bias": layer.bias, "mean": layer.mean, "sigma": layer.var.sqrt()}
        for key, (clean, adv) in pairs.items():
            wanted = np.abs(np.sort(clean.detach().numpy()) - np.sort(adv.detach().numpy())).mean()
            assert mine[QUANTITIES[key]] == pytest.approx(wanted, rel=1e-5)
        assert set(frame[frame["layer"] == name]["depth"]) == {depth}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS.keys())
def test_what_a_design_shares_has_no_distance(design: NormDesign) -> None:
    frame: Any = distances(dual(design)).groupby("quantity")["distance"].max()
    for key, shared in (("weight", design.share_affine), ("mean", design.share_statistics)):
        assert (frame[QUANTITIES[key]] == 0) == shared


def test_distance_chart_selects_its_layer_and_keeps_the_order_of_depth() -> None:
    frame: Any = distances(dual())
    spec = distance_chart(frame, "bn2").to_dict()
    (selection,) = [p for p in spec["params"] if p["name"] == "layer"]
    assert selection["select"]["fields"] == ["layer"]
    assert selection["value"] == [{"layer": "bn2"}]
    assert spec["encoding"]["x"]["sort"] == ["bn1", "bn2"]
    assert rows_of(distance_chart(frame, "bn2")) == frame.to_dict("records")


# --- one layer's channels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [0.0, 0.25, 1.0, 1.5])
def test_channels_are_the_tensors(lam: float) -> None:
    model = dual()
    before = snapshot(model)
    frame = channels(model, "bn2", lam)
    layer = dict(api.dual_layers(model))["bn2"]
    assert list(frame["channel"]) == list(range(6))
    sources = {
        "weight_clean": layer.weight[0], "weight_adv": layer.weight[1],
        "bias_clean": layer.bias[0], "bias_adv": layer.bias[1],
        "mean_clean": layer.mean[0], "mean_adv": layer.mean[1],
    }  # fmt: skip
    for column, tensor in sources.items():
        np.testing.assert_array_equal(frame[column], tensor.detach().numpy())
    np.testing.assert_allclose(frame["sigma_clean"] ** 2, layer.var[0].numpy(), rtol=1e-6)
    np.testing.assert_allclose(frame["sigma_adv"] ** 2, layer.var[1].numpy(), rtol=1e-6)
    for name in ("weight", "bias"):
        mixed = (1 - lam) * frame[f"{name}_clean"] + lam * frame[f"{name}_adv"]
        np.testing.assert_allclose(frame[name], mixed, atol=1e-6)
    assert snapshot(model) == before


def test_affine_chart_draws_each_channel_at_three_places() -> None:
    frame = channels(dual(), "bn1", 0.5)
    rows = rows_of(affine_chart(frame, 0.5))
    assert len(rows) == 3 * len(frame)
    by_place = {place: [r for r in rows if r["place"] == place] for place in (CLEAN, ADV, "at λ = 0.5")}
    for place, end in ((CLEAN, "_clean"), (ADV, "_adv"), ("at λ = 0.5", "")):
        assert [r["scale"] for r in by_place[place]] == pytest.approx(list(frame[f"weight{end}"]))
        assert [r["shift"] for r in by_place[place]] == pytest.approx(list(frame[f"bias{end}"]))


@pytest.mark.parametrize("key", ["mean", "sigma"])
def test_histograms_count_every_channel_of_both_branches(key: str) -> None:
    frame = channels(dual(), "bn1", 0.5)
    rows = rows_of(histogram(frame, key))
    for label, end in ((CLEAN, "clean"), (ADV, "adv")):
        assert [r["value"] for r in rows if r["branch"] == label] == pytest.approx(list(frame[f"{key}_{end}"]))
    assert histogram(frame, key).to_dict()["encoding"]["x"]["title"] == QUANTITIES[key]


# --- the plane --------------------------------------------------------------------------------------------------------


def swept(design: NormDesign) -> list[api.EvalRecord]:
    return [record(p.setting, p.attack) for p in api.plan(design, N, N)]


def test_plane_shows_the_counts_of_the_sweep() -> None:
    frame: Any = plane(swept(DUAL_BN), DUAL_BN)
    assert len(frame) == 7 * 7 * 2
    for row in frame.to_dict("records"):
        ap, ns = (min(api.PLANE, key=lambda stop, at=row[axis]: abs(stop - at)) for axis in ("ap", "ns"))
        attack = None if row["kind"] == "clean accuracy" else api.pgd(10, api.MAIN_EPS)
        right = n_correct(api.NormSetting(ap, api.Stored(ns)), attack)
        assert row["accuracy"] == pytest.approx(100 * right / N)
        interval = api.wilson(right, N)
        assert row["interval"] == f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %, n {N}"


def test_plane_of_shared_halves_repeats_what_was_swept_once() -> None:
    design = DESIGNS["dual-ap"]  # statistics are shared, so moving them changes nothing
    frame: Any = plane(swept(design), design)
    assert len(frame) == 7 * 7 * 2
    assert (frame.groupby(["ap", "kind"])["accuracy"].nunique() == 1).all()


def test_plane_without_records_is_empty() -> None:
    assert plane([], DUAL_BN).empty
    curves_only = [record(api.LINES["ap@clean"](lam), None) for lam in (0, 1)]
    assert plane(curves_only, DUAL_BN).empty


def test_plane_chart_shows_one_kind_and_selects_cells() -> None:
    frame: Any = plane(swept(DUAL_BN), DUAL_BN)
    chart = plane_chart(frame, "robust accuracy")
    assert {row["kind"] for row in rows_of(chart)} == {"robust accuracy"}
    (selection,) = chart.to_dict()["params"]
    assert (selection["name"], selection["select"]["fields"]) == ("cell", ["ap", "ns"])


# --- picture sheets ---------------------------------------------------------------------------------------------------


def test_magnified_difference_is_grey_where_nothing_changed() -> None:
    delta = np.array([0, 1, -1, 8, -8], np.float32) / np.float32(255)
    np.testing.assert_allclose(magnified(delta, 16), [0.5, 0.5 + 16 / 255, 0.5 - 16 / 255, 1, 0], atol=1e-6)


def test_sheet_decodes_to_the_pixels() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (2, 3, 3, 4, 5))  # 2 rows of 3 images, 3 channels, 4 high, 5 wide
    content = sheet([row.astype(np.float32) / 255 for row in levels])
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGBA")
        pixels = np.asarray(picture)
    assert pixels.shape == (SCALE * (2 * 4 + GAP), SCALE * (3 * 5 + 2 * GAP), 4)
    small = pixels[::SCALE, ::SCALE]
    np.testing.assert_array_equal(pixels, small.repeat(SCALE, 0).repeat(SCALE, 1))
    seen = np.zeros(small.shape[:2], bool)
    for r in range(2):
        for c in range(3):
            where = np.s_[r * (4 + GAP) : r * (4 + GAP) + 4, c * (5 + GAP) : c * (5 + GAP) + 5]
            np.testing.assert_array_equal(small[where][..., :3], levels[r, c].transpose(1, 2, 0))
            assert (small[where][..., 3] == 255).all()
            seen[where] = True
    assert (small[~seen] == 0).all()  # the gaps are transparent


def test_sheet_rounds_to_the_nearest_level() -> None:
    row = np.full((1, 3, 1, 1), 100.6 / 255, np.float32)
    with Image.open(io.BytesIO(sheet([row]))) as picture:
        assert picture.getpixel((0, 0)) == (101, 101, 101, 255)
