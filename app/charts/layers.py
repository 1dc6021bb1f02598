"""Charts of one checkpoint's norm layers: distances between the branches by depth, and one layer's channels."""

from __future__ import annotations

import altair as alt
import pandas as pd
from torch import nn

from engine import api

QUANTITIES = {
    "weight": "scale γ (AP)",
    "bias": "shift β (AP)",
    "mean": "mean μ (NS)",
    "sigma": "deviation σ (NS)",
}
COLOURS = ["#5b78c4", "#9db2e6", "#a08e1f", "#d0bf5e"]
CLEAN, ADV = "clean branch", "adversarial branch"


def distances(model: nn.Module) -> pd.DataFrame:
    """One row a layer and quantity: W1 between the two branches' stored values over channels (arXiv 2403.19150)."""
    rows: list[dict[str, object]] = []
    for depth, (name, layer) in enumerate(api.dual_layers(model)):
        (weight_c, bias_c), (weight_a, bias_a) = (layer.affine_entry(branch) for branch in api.Branch)
        (mean_c, var_c), (mean_a, var_a) = (layer.statistics_row(branch) for branch in api.Branch)
        pairs = {
            "weight": (weight_c, weight_a),
            "bias": (bias_c, bias_a),
            "mean": (mean_c, mean_a),
            "sigma": (var_c.sqrt(), var_a.sqrt()),
        }
        for key, (clean, adv) in pairs.items():
            distance = api.wasserstein1(clean.detach(), adv.detach())
            rows.append({"depth": depth, "layer": name, "quantity": QUANTITIES[key], "distance": distance})
    return pd.DataFrame(rows)


def distance_chart(frame: pd.DataFrame, selected: str) -> alt.Chart:
    """Four bars a layer, by depth; a click on a bar selects its layer (selection 'layer')."""
    pick = alt.selection_point(name="layer", fields=["layer"], on="click", empty=False, value=[{"layer": selected}])
    quantities = list(QUANTITIES.values())
    return (
        alt.Chart(frame)
        .mark_bar(cornerRadiusEnd=1, cursor="pointer")
        .encode(
            x=alt.X(
                "layer:N",
                sort=list(dict.fromkeys(frame["layer"])),
                title="norm layer, input to output",
                axis=alt.Axis(labels=False, ticks=False),
            ),
            xOffset=alt.XOffset("quantity:N", sort=quantities),
            y=alt.Y("distance:Q", title="distance W1", axis=alt.Axis(tickCount=4, format="~g")),
            color=alt.Color(
                "quantity:N",
                scale=alt.Scale(domain=quantities, range=COLOURS),
                legend=alt.Legend(orient="top", title=None, columns=2, labelLimit=200),
            ),
            opacity=alt.condition(pick, alt.value(1), alt.value(0.45)),
            tooltip=[
                alt.Tooltip("layer:N", title="layer"),
                alt.Tooltip("quantity:N", title="quantity"),
                alt.Tooltip("distance:Q", format=".4f", title="W1 between branches"),
            ],
        )
        .add_params(pick)
        .properties(height=300)
    )


def channels(model: nn.Module, name: str, lam: float) -> pd.DataFrame:
    """One row a channel of a layer: AP of both branches and at lambda, stored NS of both branches."""
    layer = dict(api.dual_layers(model))[name]
    mixed = layer.frozen(lam, 0.0)
    (weight_c, bias_c), (weight_a, bias_a) = (layer.affine_entry(branch) for branch in api.Branch)
    (mean_c, var_c), (mean_a, var_a) = (layer.statistics_row(branch) for branch in api.Branch)
    columns = {
        "weight_clean": weight_c, "bias_clean": bias_c, "weight_adv": weight_a, "bias_adv": bias_a,
        "weight": mixed.weight, "bias": mixed.bias,
        "mean_clean": mean_c, "mean_adv": mean_a, "sigma_clean": var_c.sqrt(), "sigma_adv": var_a.sqrt(),
    }  # fmt: skip
    frame = pd.DataFrame({key: tensor.detach().cpu().numpy() for key, tensor in columns.items()})
    frame.insert(0, "channel", range(len(frame)))
    return frame


def affine_chart(frame: pd.DataFrame, lam: float) -> alt.LayerChart | alt.FacetChart:
    """Each channel's path from its clean to its adversarial (scale, shift), with a dot at lambda."""
    places = {CLEAN: "_clean", ADV: "_adv", f"at λ = {lam:g}": ""}
    dots = pd.concat(
        pd.DataFrame({
            "channel": frame["channel"], "place": place, "scale": frame[f"weight{end}"], "shift": frame[f"bias{end}"],
        })
        for place, end in places.items()
    )  # fmt: skip
    x = alt.X("scale:Q", title="scale γ", scale=alt.Scale(zero=False))
    y = alt.Y("shift:Q", title="shift β", scale=alt.Scale(zero=False))
    domain = list(places)
    paths = alt.Chart(dots).mark_line(opacity=0.3, color="#7b8a93", strokeWidth=1).encode(x=x, y=y, detail="channel:N")
    points = (
        alt.Chart(dots)
        .mark_point(filled=True, size=36, opacity=0.8)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "place:N",
                scale=alt.Scale(domain=domain, range=["#1b8ea3", "#e0681f", "#6f86d0"]),
                legend=alt.Legend(orient="top", title=None, columns=2, labelLimit=200),
            ),
            shape=alt.Shape("place:N", scale=alt.Scale(domain=domain, range=["circle", "square", "diamond"])),
            tooltip=[
                "channel:O",
                "place:N",
                alt.Tooltip("scale:Q", format=".3f"),
                alt.Tooltip("shift:Q", format=".3f"),
            ],
        )
    )
    return alt.layer(paths, points).properties(height=230)


def histogram(frame: pd.DataFrame, key: str) -> alt.Chart:
    """Stored NS of all channels, both branches over each other; key 'mean' or 'sigma'."""
    tidy = pd.concat(
        pd.DataFrame({"value": frame[f"{key}_{short}"], "branch": label})
        for short, label in (("clean", CLEAN), ("adv", ADV))
    )
    colours = alt.Scale(domain=[CLEAN, ADV], range=["#1b8ea3", "#e0681f"])
    return (
        alt.Chart(tidy)
        .mark_bar(opacity=0.6)
        .encode(
            x=alt.X("value:Q", bin=alt.Bin(maxbins=20), title=QUANTITIES[key]),
            y=alt.Y("count():Q", title="channels", stack=None, axis=alt.Axis(tickCount=3)),
            color=alt.Color("branch:N", scale=colours, legend=None),
        )
        .properties(height=130)
    )
