"""A claim of the paper on screen: its parts, which the overview shares, and the whole of it.

Usage::

    detail(cache.findings(), families, "E3")
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import cache
from app.cache import Findings
from app.components.copy_link import copy_link
from app.takeaway.tray import About, offer, start, take_away
from engine import api

VERDICTS = {
    "holds": ("green", "check_circle", "hold"),
    "fails": ("red", "cancel", "fail"),
    "undecided": ("yellow", "help", "undecided"),
}
"""Verdict -> colour, icon, and what several claims do."""
INTERVALS = {
    "bars": "Whiskers: 95 % intervals. Point at a bar for its figures.",
    "points": "Whiskers: 95 % intervals. Point at a mark for its figures.",
    "lines": "Bands: 95 % intervals. Point at a line for its figures.",
    "grid": "Point at a cell for its 95 % interval.",
}
COMMAND = "python -m engine paper"


def badge(verdict: str, text: str = "") -> str:
    colour, icon, _ = VERDICTS[verdict]
    return f":{colour}-badge[:material/{icon}: {text or verdict}]"


def plain(text: str) -> str:
    """A sentence from a file as it stands: brackets, dollars and stars mean nothing in it."""
    return re.sub(r"([\\*_\[\]$~<])", r"\\\1", text)


def label(family: str) -> str:
    """'shapes (built in)', 'CIFAR-10, ResNet-20', 'CIFAR-10, ResNet-20, longer training'."""
    if family == "shapes":
        return "shapes (built in)"
    named = re.sub(r"^cifar(\d+)", r"CIFAR-\1", family).replace("-resnet", ", ResNet-")
    return re.sub("-long$", ", longer training", named)


def beyond(experiment: str) -> bool:
    return experiment in api.EXPERIMENTS and api.EXPERIMENTS[experiment].beyond


def origin(finding: api.Finding) -> str:
    """'n = 2,000 · PGD-20 at 8/255 · seed 0'."""
    return " · ".join(
        [
            f"n = {finding.images}",
            *([plain(finding.attack)] if finding.attack else []),
            f"seed {finding.seed}",
        ]
    )


def go(name: str, value: str, default: str = "") -> None:
    """What a click does: the address is the state, so that a link and the browser's back button work."""
    if value == default:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value


def choose(place: DeltaGenerator, title: str, name: str, options: list[str], shown: Callable[[str], str] = str) -> str:
    """A choice that stands in the address under its own name; the first option where it has none that is here."""
    if len(options) == 1:
        return options[0]
    asked = st.query_params.get(name)
    st.session_state[name] = asked if asked in options else options[0]
    chosen = place.segmented_control(
        title, options, key=name, format_func=shown, required=True,
        on_change=lambda: go(name, st.session_state[name], options[0]),
    )  # fmt: skip
    return chosen or options[0]


def header(title: str) -> DeltaGenerator:
    """The place for what can be taken away."""
    left, actions = st.columns([5, 2], vertical_alignment="bottom")
    left.title(title)
    with actions.container(horizontal=True, horizontal_alignment="right"):
        place = start()
        copy_link(key="copy")
    return place


def settings(families: list[str]) -> About:
    return About("paper", [], "Networks trained on " + " and ".join(map(label, families)), {"families": families})


def taken_caption(finding: api.Finding, chart: Any) -> str:
    """What stands below a figure that is taken away: claim and verdict, then where it comes from."""
    bounds = "The data hold 95 % intervals." if chart.kind == "grid" else INTERVALS[chart.kind].split(". ")[0] + "."
    networks = ", ".join(f"{name} {sha[:8]}" for name, sha in finding.checkpoints.items())
    made = [f"n = {finding.images}", finding.attack, f"seed {finding.seed}", f"weights: {networks}"]
    return (
        f"{finding.claim} {finding.verdict.capitalize()}: {finding.sentence} {finding.stale}\n"
        f"{bounds if chart.low else ''} {' · '.join(filter(None, (*made, finding.command)))}"
    )


def figures(found: Findings, finding: api.Finding, index: int, small: bool, key: str) -> None:
    """A chart of a finding, its panels side by side where there is room; taken away it is never the small one."""
    specs = cache.evidence_specs(found.stamp, finding.family, finding.experiment, index, small)
    chart = finding.charts[index]
    offer(
        f"{finding.experiment}: {chart.caption or finding.title}".rstrip("."),
        taken_caption(finding, chart),
        lambda: cache.evidence_specs(found.stamp, finding.family, finding.experiment, index, False),
    )
    if small:
        specs = specs[:2]
    columns = min(len(specs), 2)
    narrowest = 320 if not small or chart.kind == "grid" else 200
    grid = st.grid(max(1, columns), min_column_width=narrowest, gap="medium")
    for number, (title, spec) in enumerate(specs):
        with grid.container():
            if title:
                st.markdown(f"**{plain(title)}**" if not small else f":small[**{plain(title)}**]")
            st.vega_lite_chart(
                spec=spec, key=f"{key}_{number}", alt=f"{chart.caption} {title} (the tables hold the figures)"
            )


def try_link(finding: api.Finding) -> None:
    """Opens the explorer in the state that shows the claim; only ever a page of this app."""
    if re.fullmatch(r"/(?!/)[^\s]*", finding.link):
        st.link_button("Try to break it", finding.link, icon=":material/science:", help="Opens in a new tab")


def stale_note(finding: api.Finding) -> None:
    if finding.stale:
        st.markdown(f":material/history: :orange[{plain(finding.stale)}]")


def predictions(findings: Iterable[api.Finding], named: bool) -> None:
    """Each prediction with its verdict; named after its experiment where several stand together."""
    made = [(one, f" ({finding.experiment})" if named else "") for finding in findings for one in finding.predictions]
    for one, of in sorted(made, key=lambda pair: pair[0].name):
        st.markdown(f"{badge(one.verdict)} &nbsp; **{plain(one.name)}**{of} {plain(one.text)}  \n{plain(one.sentence)}")


def dumped(value: object) -> str:
    return json.dumps(value, indent=1)


def detail(found: Findings, families: list[str], experiment: str) -> None:
    """One claim whole: the families side by side, then every figure, table and circumstance of one of them."""
    experiments = list(dict.fromkeys(name for _, name in found.by_key))
    experiments.sort(key=lambda name: (beyond(name), name[:1], len(name), name))
    at = experiments.index(experiment)
    with st.container(horizontal=True):
        st.button("All claims", key="back", on_click=go, args=("claim", ""), icon=":material/arrow_back:")
        for step, icon, name in ((-1, "chevron_left", "previous"), (1, "chevron_right", "next")):
            to = experiments[(at + step) % len(experiments)]
            if to != experiment:
                st.button(
                    to, key=name, on_click=go, args=("claim", to), icon=f":material/{icon}:", help=f"The {name} claim"
                )
    here = {family: found.by_key[family, experiment] for family in families if (family, experiment) in found.by_key}
    first = next(iter(here.values()))
    st.caption(f"{experiment} · {plain(first.title)}" + (" · beyond the paper" if beyond(experiment) else ""))
    place = header(plain(first.claim))
    grid = st.grid(len(families), min_column_width=300)
    for family in families:
        with grid.container(border=True):
            if family not in here:
                st.markdown(f"**{label(family)}**  \nNot run yet: `{COMMAND} {experiment} --family {family}`")
                continue
            one = here[family]
            st.markdown(f"{badge(one.verdict)} &nbsp; **{label(family)}**")
            st.markdown(plain(one.sentence))
            stale_note(one)
            st.caption(origin(one))
    family = choose(st.container(), "Figures and tables of", "family", families, label)
    if family in here:
        whole(found, here[family])
        take_away(place, settings([family]))
    else:
        st.markdown("Choose another family above; this claim has not been tested on these networks.")


def whole(found: Findings, finding: api.Finding) -> None:
    key = f"{finding.family}_{finding.experiment}"
    for index, chart in enumerate(finding.charts):
        if chart.caption:
            st.subheader(plain(chart.caption).rstrip("."))
        figures(found, finding, index, False, f"{key}_{index}")
        if chart.low:
            st.caption(INTERVALS[chart.kind])
    with st.container(horizontal=True):
        try_link(finding)
        st.download_button(
            "This finding (JSON)", lambda: dumped(finding.as_json()), f"{finding.family}-{finding.experiment}.json",
            "application/json", on_click="ignore", icon=":material/data_object:",
        )  # fmt: skip
    if finding.predictions:
        st.subheader("Predicted before looking")
        predictions([finding], False)
    if finding.tables:
        st.subheader("Tables")
    for table in finding.tables:
        tabled(finding, table.name, key)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Read it with care")
        st.markdown("\n".join(f"- {plain(caveat)}" for caveat in finding.caveats) or "Nothing in particular.")
        if finding.data_note:
            st.markdown(f":material/info: {plain(finding.data_note)}")
    with right:
        st.subheader("How it was made")
        st.code(finding.command, language=None, wrap_lines=True)
        st.markdown("\n".join(f"- {plain(name)} `{sha[:8]}`" for name, sha in finding.checkpoints.items()))
        st.caption(
            f"{origin(finding)} · test images `{finding.data_sha256[:8]}` · engine {plain(finding.engine_version)} · "
            f"{finding.seconds:g} s. Networks by the first digits of their weights' SHA-256."
        )


def tabled(finding: api.Finding, name: str, key: str) -> None:
    """A table behind a fold, drawn only once it is opened, and its file."""
    table = finding.table(name)
    title = f"{plain(table.caption).rstrip('.') or name} · {len(table.rows):,} rows"
    fold = st.expander(title, key=f"fold_{key}_{name}", on_change="rerun")
    if not fold.open:
        return
    frame = pd.DataFrame(list(table.rows), columns=list(table.columns))
    with fold:
        st.dataframe(frame, hide_index=True, width="stretch", key=f"table_{key}_{name}")
        st.download_button(
            "CSV", lambda: frame.to_csv(index=False), f"{finding.family}-{finding.experiment}-{name}.csv", "text/csv",
            on_click="ignore", icon=":material/table:", key=f"csv_{key}_{name}",
        )  # fmt: skip
