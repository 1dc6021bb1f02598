"""Maps of one image, clean and attacked, at two settings beside each other."""

from __future__ import annotations

import streamlit as st

from app.attribution import maps, taken
from app.attribution.maps import Seen, View
from app.charts import attribution
from app.jobs import working
from app.shown import Shown
from engine import api

ENDS = {0.0: ": the clean branch's AP", 1.0: ": the adversarial branch's AP"}


def verdict(one: Seen, classes: tuple[str, ...], label: int) -> str:
    """'Attacked: says star (99 %), wrong.'"""
    images = "Clean image" if one.view.attack is None else "Attacked image"
    right = "right" if one.answer == label else f"but it is {classes[label]}"
    said = f"{images}: the network says **{classes[one.answer]}** ({100 * one.confidence:.0f}\u00a0%), {right}."
    return said + ("" if one.explained == one.answer else f" The map is that of {classes[one.explained]}.")


def total(one: Seen) -> str:
    """What integrated gradients add up to."""
    return f"; all pixels together {one.values.sum():+.1f}" if one.view.method == "integrated-gradients" else ""


def side_by_side(shown: Shown, views: list[View], unit: str, image: str = "") -> None:
    """Image and map, clean above attacked, a column a setting; one legend for all. image: as in `watch`."""
    assert shown.bench is not None
    if maps.missing(views):
        with working("Asking the network ...", "attribution", tuple(views)) as progress:
            seen = maps.maps(shown, views, progress)
    else:
        seen = maps.maps(shown, views, lambda *_: None)
    index, test = views[0].index, shown.bench.test
    dark = st.context.theme.type == "dark"
    shape = maps.mask(shown, index)
    left, right = st.columns([3, 1], gap="large", vertical_alignment="bottom")
    shared = right.segmented_control(
        "Colour scale", ["shared", "each its own"], default="shared", key="scale", required=True, bind="query-params",
        help="Shared: the same colour is the same value in all four maps. Robust networks have small gradients, so "
        "their maps can look pale; with its own scale each map fills the colours.",
    ) == "shared"  # fmt: skip
    limits = maps.limits(seen, shared)
    ends = f"to ±{limits[0]:.2g} {unit}" if shared else "as far as stands below each map"
    left.image(
        attribution.legend(dark), width="stretch", alt="Colours of the maps, from purple over pale to green",
        caption=f"← purple: against the class · middle: no matter · green: for it →, {ends}",
    )  # fmt: skip
    for start, column in zip((0, 2), st.columns(2, gap="large"), strict=True):
        lam = views[start].setting.affine
        column.markdown(f"#### λ = {lam:g}" + ENDS.get(lam, ""))
        for one, limit in zip(seen[start : start + 2], limits[start : start + 2], strict=True):
            column.markdown(verdict(one, test.classes, int(test.labels[index])))
            column.image(
                attribution.picture(one.image, one.values, limit, dark, shape), width="stretch",
                alt=f"The image and, beside it, which pixels speak for {test.classes[one.explained]} and which against",
                caption=f"Full colour at ±{limit:.2g} {unit}{total(one)}.",
            )  # fmt: skip
    attack = views[1].attack
    assert attack is not None
    outline = " The line is the shape's true outline." if shape is not None else ""
    source = (
        f"Image on the left, map on the right.{outline} Strongest 1 % of pixels cut off at full colour. Attacked: "
        f"{attack.label}, step {attack.step_size * 255:.2f}/255, seed {api.SEED}, white-box at each λ. Weights "
        f"{shown.card.weights_sha256[:8]}, {image or f'{test.name} {test.split} image {index}'}; captum 0.9."
    )
    st.caption(source)
    taken.offer_maps(seen, limits, shape, f"Green speaks for the class, purple against it, {ends}. {source}")
