"""Models and data: the checkpoints with their figures, how each was made, and what they were trained on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app import cache, mode
from app.charts import models
from app.controls import check_link
from app.takeaway.tray import About, heading, offer, take_away
from app.words import word
from engine import api

TEXT = Path(__file__).resolve().parents[1] / "text"
NAMES = {"shapes": "shapes (built in)", "cifar10": "CIFAR-10"}
FIRST = "dual-bn"
"""How the name ends of the checkpoint that is shown first."""
COLUMNS: dict[str, Any] = {
    "checkpoint": st.column_config.TextColumn(pinned=True, width=235),
    "branch": st.column_config.TextColumn(width=95),
    "clean": st.column_config.NumberColumn("clean", format="%.1f %%", width=75),
    "clean_interval": st.column_config.TextColumn("95 % interval", width=105),
    "robust": st.column_config.NumberColumn("robust", format="%.1f %%", width=75),
    "robust_interval": st.column_config.TextColumn("95 % interval ", width=105),
    "design": st.column_config.TextColumn(width=90),
    "learned_from": st.column_config.TextColumn("learned from"),
    "eps": st.column_config.TextColumn("eps", width=70),
    "n": st.column_config.NumberColumn("n", format="localized", width=70),
    "images_seen": st.column_config.NumberColumn("images seen", format="localized"),
    "network": st.column_config.TextColumn(),
    "minutes": st.column_config.NumberColumn("trained in", format="%.0f min"),
}


def overview(cards: list[api.ModelCard]) -> list[api.ModelCard]:
    """Scatter and table of the checkpoints of one data set, which are returned."""
    names = sorted({card.data["name"] for card in cards}, key=lambda name: ([*NAMES, name].index(name), name))
    chosen = next((card.data["name"] for card in cards if card.name == st.query_params.get("card")), names[0])
    if len(names) > 1:
        chosen = st.segmented_control(
            "Images", names, default=chosen, key="data", format_func=lambda name: NAMES.get(name, name or "none"),
            required=True, bind="query-params", help=word("Held-out images"),
        )  # fmt: skip
    cards = [card for card in cards if card.data["name"] == chosen]
    rows = models.branch_rows(cards)
    if rows.empty:
        st.caption("None of these has been measured yet: `python -m engine headline NAME`")
        return cards
    published = chosen == "cifar10" and st.toggle(
        "Published results", key="published", bind="query-params", help="Other people's networks, for scale"
    )
    chart = models.scatter(rows, models.ANCHORS if published else ())
    st.altair_chart(
        chart,
        alt="Clean against robust accuracy of every branch, with 95 % intervals; the table below holds the figures",
    )
    note = (
        "Point at a mark for its figures. Dashed: the branches that no other of one budget beats in both. Bars: 95 % "
        "Wilson intervals."
    )
    if published:
        note += (
            " Crosses: published results, drawn apart because they cannot be compared with ours: far larger networks, "
            "a hundred times the training, the official test images. Point at one for its source."
        )
    st.caption(note)
    offer(
        "Clean against robust accuracy",
        f"Every branch of every checkpoint on {NAMES.get(chosen, chosen)}; n = {max(rows['n']):,} held-out images, "
        f"{' and '.join(dict.fromkeys(rows['attack']))}, white-box. {note} python -m engine list",
        lambda: [("", chart)], lambda: rows, wide=True,
    )  # fmt: skip
    st.dataframe(
        rows[list(COLUMNS)], hide_index=True, width="stretch", column_config=COLUMNS, key=f"table_{chosen}"
    )  # fmt: skip
    return cards


def escaped(text: str) -> str:
    """Text that may hold a file's name, as Markdown that shows it letter by letter."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>~$:])", r"\\\1", text)


def calibration(card: api.ModelCard, branch: api.Branch) -> str:
    """'2.1 points', or a dash."""
    found = [b.ece for b in card.breakdowns if b.setting == api.branch_setting(branch) and b.ece is not None]
    return f"{100 * found[0]:.1f} points" if found else "—"


def one(card: api.ModelCard) -> None:
    """How one checkpoint was made and where it fails; its command, weights and card."""
    st.code(card.command, language=None, wrap_lines=True)
    if card.origin:
        st.markdown(f":material/input: {escaped(card.origin)}")
    source = f"weights {card.weights_sha256[:8]} · {card.command}"
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("While it trained")
        log = cache.training_log(card.name, card.weights_sha256)
        if log is None:
            st.caption("This checkpoint came without a training log.")
        else:
            training = models.training_chart(log)
            st.altair_chart(training, alt="Training accuracy by epoch, clean and attacked batches")
            trained = (
                f"Right while training, means over an epoch's batches before each update; attacked as then (PGD-"
                f"{card.config.get('attack_steps', '?')}, eps rising to {api.eps_label(card.config['eps'])}). "
                f"{card.images_seen:,} images, {card.wall_seconds / 60:.0f} minutes on {card.device}, seed "
                f"{card.config.get('seed', '?')}."
            )
            st.caption(trained)
            offer(f"{card.name}: while it trained", f"{trained} {source}", lambda: [("", training)], lambda: log)
    with right:
        st.subheader("Class by class")
        branch = api.Branch.ADV
        if not (card.norm_design.share_statistics and card.norm_design.share_parameters):
            names = {name: branch for branch, name in models.BRANCHES.items()}
            branch = names[
                st.segmented_control("Branch", list(names), default="adversarial", key="branch", required=True,
                                     help=word("Branch"))
            ]  # fmt: skip
        classes = models.class_rows(card, branch)
        if classes.empty:
            st.caption(f"Not measured yet: `python -m engine headline {card.name}`")
        else:
            chart = models.class_chart(classes)
            st.altair_chart(chart, alt="Clean and robust accuracy of every class")
            counts = " to ".join(f"{n:,}" for n in sorted(set(classes["n"].agg(["min", "max"]))))
            note = (
                f"Bars: 95 % intervals, {counts} images a class. Expected "
                f"calibration error on clean images: {calibration(card, branch)} (how far stated confidence and "
                "accuracy lie apart, 15 bins)."
            )
            st.caption(note, help=word("ECE", "95 % interval"))
            offer(
                f"{card.name}: class by class", f"The {models.BRANCHES[branch]} branch. {note} {source}",
                lambda: [("", chart)], lambda: classes,
            )  # fmt: skip
    downloads = st.container(horizontal=True)
    folder = api.checkpoint_folder(card.name)
    downloads.download_button(
        "Card", json.dumps(card.as_json(), indent=1), f"{card.name}.json", "application/json", on_click="ignore",
        icon=":material/description:",
    )  # fmt: skip
    downloads.download_button(
        "Weights", (folder / "weights.safetensors").read_bytes(), f"{card.name}.safetensors", on_click="ignore",
        icon=":material/download:",
    )  # fmt: skip
    with st.expander("The whole card"):
        st.json(card.as_json(), expanded=1)


def official_line(cards: list[api.ModelCard]) -> pd.DataFrame:
    """Figures on the official test images, where they were measured."""
    rows = [
        {
            "checkpoint": card.name,
            "branch": models.BRANCHES[branch],
            **{kind: f"{100 * r.interval.value:.1f} % ({100 * r.interval.low:.1f} to {100 * r.interval.high:.1f})"
               for r in card.official if r.setting == api.branch_setting(branch)
               for kind in ["clean" if r.attack is None else "robust"]},
            "n": card.official[0].n,
        }
        for card in cards if card.official for branch in api.Branch
    ]  # fmt: skip
    return pd.DataFrame(rows)


def page() -> None:
    place = heading("What was trained, and on what?")
    terms = ("Design", "Hybrid adversarial training", "Madry training", "TRADES", "Cross-NS", "Robust accuracy")
    st.markdown((TEXT / "models.md").read_text(), help=word(*terms))
    cards, problems = cache.cards()
    for problem in problems:
        st.caption(f":material/warning: {problem}")
    if cards:
        labels = {NAMES.get(card.data["name"], card.data["name"] or "none") for card in cards}
        names = [card.name for card in cards]
        check_link("models", names, {"data": labels, "card": names, "published": ["true", "false"]})
        here = overview(cards)
        official = official_line(here)
        if not official.empty:
            with st.expander("On the official CIFAR-10 test images that are here"):
                st.dataframe(official, hide_index=True, width="stretch")
        st.header("One checkpoint")
        names = [card.name for card in here]
        first = next((i for i, name in enumerate(names) if name.endswith(FIRST)), 0)
        name = st.selectbox("Checkpoint", names, first, key="card", bind="query-params", help=word("Design"))
        chosen = next(card for card in here if card.name == name)
        one(chosen)
        take_away(place, About("models", [chosen], "Figures as they stand in the checkpoints' cards"))
    st.markdown((TEXT / "data_and_limits.md").read_text())
    limits = mode.current()
    where = "a demo open to everybody" if limits.name == "demo" else "running on your own machine"
    st.markdown(f"## Limits of this server\n\nThis is {where}.\n\n" + "".join(f"- {s}\n" for s in limits.sentences()))


page()
