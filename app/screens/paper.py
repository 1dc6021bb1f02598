"""The paper, claim by claim: what it says, what our networks say, and where to try to break it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from app import cache
from app.cache import Findings
from app.components.to_top import to_top
from app.paper.claim import (
    COMMAND,
    VERDICTS,
    badge,
    beyond,
    choose,
    detail,
    dumped,
    figures,
    go,
    header,
    label,
    origin,
    plain,
    predictions,
    settings,
    stale_note,
    try_link,
)
from app.takeaway.tray import take_away
from app.words import word
from engine import api

TEXT = Path(__file__).resolve().parents[1] / "text"
ALL = "all"


def asked_for(found: Findings, families: list[str]) -> str:
    """The claim in the address, or ""; one message where the address asks for what is not here."""
    experiments = {experiment for _, experiment in found.by_key}
    allowed = {"claim": experiments, "family": set(families), "verdict": {ALL, *VERDICTS}}
    asked = {name: st.query_params[name] for name in allowed if name in st.query_params}
    wrong = [name for name, value in asked.items() if value not in allowed[name]]
    if wrong and st.session_state.get("told") != wrong:
        st.toast(
            f"This link asks for something that is not here ({', '.join(wrong)}); the default is shown instead.",
            duration="long",
        )  # fmt: skip
    st.session_state["told"] = wrong
    return "" if "claim" in wrong else asked.get("claim", "")


def tally(findings: Iterable[api.Finding]) -> str:
    """'3 hold, 1 fails, 2 undecided' as badges; none is left out where it is zero, so that none is overlooked."""
    counts = Counter(finding.verdict for finding in findings)
    words = {"holds": "holds", "fails": "fails", "undecided": "undecided"}
    return " ".join(
        badge(verdict, f"{counts[verdict]} {words[verdict] if counts[verdict] == 1 else several}")
        for verdict, (_, _, several) in VERDICTS.items()
    )


def summary(found: Findings, families: list[str]) -> None:
    """A card a family: how many claims hold, and which."""
    grid = st.grid(len(families), min_column_width=300)
    for family in families:
        own = [one for (of, experiment), one in found.by_key.items() if of == family and not beyond(experiment)]
        with grid.container(border=True):
            st.markdown(f"**{label(family)}**")
            st.markdown(tally(own))
            st.markdown(" ".join(badge(one.verdict, one.experiment) for one in own))
            stale = sum(bool(one.stale) for one in own)
            if stale:
                st.caption(f":material/history: {stale} of them made with other weights than those here; see below.")


def row(found: Findings, finding: api.Finding, families: list[str]) -> None:
    """A claim in the overview: claim, evidence, verdict, small figure."""
    name = finding.experiment
    with st.container(border=True):
        left, right = (
            st.columns([11, 9], gap="medium", vertical_alignment="center") if finding.charts else (st.container(), None)
        )
        with left:
            st.markdown(f"{badge(finding.verdict)} &nbsp; {name} · {plain(finding.title)}")
            st.markdown(f"#### {plain(finding.claim)}")
            st.markdown(plain(finding.sentence))
            stale_note(finding)
            st.caption(origin(finding))
            others = [found.by_key[f, name] for f in families if f != finding.family and (f, name) in found.by_key]
            if others:
                st.markdown(" &nbsp; ".join(f":small[{label(o.family)}:] {badge(o.verdict)}" for o in others))
            with st.container(horizontal=True):
                st.button("Open", key=f"open_{name}", on_click=go, args=("claim", name), icon=":material/open_in_full:")
                try_link(finding)
        if right is not None:
            with right:
                figures(found, finding, 0, True, f"small_{name}")


def overview(found: Findings, families: list[str]) -> None:
    """All claims of a family."""
    summary(found, families)
    controls = st.container()  # not in one row: there a phone would cut off the last family
    family = choose(controls, "Networks trained on", "family", families, label)
    verdict = choose(controls, "Show", "verdict", [ALL, *VERDICTS])
    own = [one for (of, _), one in found.by_key.items() if of == family]
    shown = [one for one in own if verdict in (ALL, one.verdict)]
    for title, part in (
        ("", [one for one in shown if not beyond(one.experiment)]),
        ("Beyond the paper", [one for one in shown if beyond(one.experiment)]),
    ):
        if title and part:
            st.header(title)
            st.caption("Questions that the paper does not ask; the claim is our guess before looking.")
        for finding in part:
            row(found, finding, families)
    if not shown:
        st.markdown(f"No claim is {verdict} here." if verdict == "undecided" else f"No claim {verdict} here.")
    if any(one.predictions for one in own):
        st.header("Predictions made before looking")
        predictions(own, True)
    missing = [name for name in api.EXPERIMENTS if (family, name) not in found.by_key]
    if missing:
        st.caption(f"Not run on {label(family)} yet: `{COMMAND} {' '.join(missing)} --family {family}`")
    st.download_button(
        "Everything (JSON)", lambda: dumped([one.as_json() for one in found.by_key.values()]), "paper.json",
        "application/json", on_click="ignore", icon=":material/data_object:",
    )  # fmt: skip


def page() -> None:
    found = cache.findings()
    families = sorted({family for family, _ in found.by_key}, key=lambda name: (name != "shapes", name))
    claim = asked_for(found, families) if families else ""
    if claim:
        detail(found, families, claim)
        to_top(claim, key="top")
        return
    place = header("Which claims of the paper hold up?")
    for problem in found.problems:
        st.caption(f":material/warning: {plain(problem)}")
    if not families:
        st.markdown(f"No experiment has been run here yet. Run them: `{COMMAND}`")
        return
    st.markdown((TEXT / "paper.md").read_text(), help=word("95 % interval", "AP", "NS", "NS_x^y", "W1", "Points"))
    overview(found, families)
    take_away(place, settings(families))
    to_top("", key="top")


page()
