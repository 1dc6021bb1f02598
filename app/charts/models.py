"""Charts across checkpoints (clean against robust) and of one checkpoint's training and classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from engine import api

BRANCHES = {api.Branch.CLEAN: "clean", api.Branch.ADV: "adversarial"}
ONLY = "shared"
COLOURS = alt.Scale(domain=["clean", "adversarial", ONLY], range=["#1b8ea3", "#e0681f", "#6f86d0"])
SHAPES = alt.Scale(domain=["clean", "adversarial", ONLY], range=["circle", "diamond", "square"])


@dataclass(frozen=True, slots=True)
class Anchor:
    """A published result on CIFAR-10 at Linf 8/255, in percent, as its source gives it."""

    label: str
    clean: float
    robust: float
    attack: str
    source: str


ANCHORS = (
    Anchor("TRADES, WRN-34-10", 84.92, 56.61, "PGD-20 at 0.031", "Zhang et al. 2019, arXiv 1901.08573, authors' code"),
    Anchor("Bag of Tricks, WRN-34-10", 85.48, 53.80, "AutoAttack", "Pang et al. 2021, arXiv 2010.00467, authors' code"),
    Anchor("Adaptive smoothing", 95.23, 68.06, "AutoAttack", "Bai et al. 2023, arXiv 2301.12554, authors' code"),
)


def branch_rows(cards: Iterable[api.ModelCard]) -> pd.DataFrame:
    """One row a checkpoint and branch that has both figures; accuracies and interval ends in percent."""
    rows: list[dict[str, object]] = []
    for card in cards:
        known = not card.origin
        alone = card.norm_design.share_statistics and card.norm_design.share_parameters
        for branch, name in BRANCHES.items():
            of = {r.attack is not None: r for r in card.records if r.setting == api.branch_setting(branch)}
            if len(of) < 2 or (alone and branch == api.Branch.CLEAN):
                continue
            short = card.name.removeprefix(f"{card.data['name']}-").removeprefix(f"{card.architecture}-")
            row: dict[str, object] = {"checkpoint": card.name, "short": short, "branch": ONLY if alone else name}
            for key, record in (("clean", of[False]), ("robust", of[True])):
                i = record.interval
                row |= {key: 100 * i.value, f"{key}_low": 100 * i.low, f"{key}_high": 100 * i.high}
                row[f"{key}_interval"] = f"{100 * i.low:.1f} to {100 * i.high:.1f}"
            attack = of[True].attack
            rows.append(row | {
                "design": card.norm_design.label, "learned_from": card.learned_from,
                "eps": api.eps_label(card.config["eps"]), "attack": attack.label if attack else "", "n": of[True].n,
                "data": card.data["name"], "family": api.family_of(card), "network": card.architecture,
                "images_seen": card.images_seen if known else None,
                "minutes": card.wall_seconds / 60 if known else None,
            })  # fmt: skip
    return pd.DataFrame(rows)


def pareto_front(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other row beats in both accuracies, from most robust to most accurate."""
    ordered = frame.sort_values(["clean", "robust"], ascending=False)
    best = ordered["robust"].cummax()
    return ordered.loc[(ordered["robust"] == best) & ~best.duplicated()].sort_values("clean")


HEIGHT, PLOT, WIDTH, LINE = 420, 265, 1000, 14
"""Pixels: of the scatter, of what its axes leave of it on a desktop (height, width), and of a line of text."""
NAMED = "width < 600 ? 0 : 1"
"""Opacity of the labels: on a phone they would cover each other and the points."""
WITHIN = alt.Axis(labelExpr="datum.value < 0 || datum.value > 100 ? '' : datum.label", tickCount=6)


def ends(values: Iterable[float]) -> tuple[float, float]:
    """An axis around percentages, with room for labels."""
    low, high = min(values := list(values)), max(values)
    room = max(1.0, 0.12 * (high - low))
    return low - room, high + room


def label_places(
    points: Sequence[tuple[float, float, str]],
    x: tuple[float, float],
    y: tuple[float, float],
    bars: Sequence[tuple[float, float, float]] = (),
) -> list[tuple[float, float]]:
    """Where the label of each (clean, robust, text) begins: beside its point, or farther off where something stands.

    x, y: the axes' ends; bars (low, robust, high) lie across and are not written on. The first free place of a few
    rings around the point is taken, the right side first.
    """
    px, py = (x[1] - x[0]) / WIDTH, (y[1] - y[0]) / PLOT
    taken = [(a - 6 * px, b - 6 * py, a + 6 * px, b + 6 * py) for a, b, _ in points]
    lines = [(low, robust - py, high, robust + py) for low, robust, high in bars]
    places: list[tuple[float, float]] = []
    for at, (clean, robust, text) in enumerate(points):
        wide = 6.5 * len(text) * px
        tries = [
            (clean + right * px - wide * back, robust + up * LINE * py)
            for ring in range(4)
            for up in ((0,) if ring == 0 else (ring, -ring))
            for right, back in ((10, 0.0), (-10, 1.0), (0, 0.5))
            if ring or back != 0.5
        ]
        boxes = [(left, middle - LINE / 2 * py, left + wide, middle + LINE / 2 * py) for left, middle in tries]
        others = [*taken[:at], *taken[at + 1 :], *lines]
        free = [box for box in boxes if x[0] <= box[0] and box[2] <= x[1] and not any(overlap(box, o) for o in others)]
        inside = [box for box in free if y[0] <= box[1] and box[3] <= y[1]]
        chosen = (inside or free or boxes)[0]
        taken.append(chosen)
        places.append((chosen[0], (chosen[1] + chosen[3]) / 2))
    return places


def stairs(fronts: pd.DataFrame) -> list[tuple[float, float, float]]:
    """The fronts' lines as short bars (low, robust, high) that labels can keep off."""
    found: list[tuple[float, float, float]] = []
    for _, front in fronts.groupby("family"):
        ends_x, ends_y = front["clean"].to_numpy(), front["robust"].to_numpy()
        at = np.linspace(0, len(front) - 1, 60 * max(1, len(front) - 1))
        x, y = np.interp(at, range(len(front)), ends_x), np.interp(at, range(len(front)), ends_y)
        found += zip(x[:-1].tolist(), y[:-1].tolist(), x[1:].tolist(), strict=True)
    return found


Box = tuple[float, float, float, float]


def overlap(a: Box, b: Box) -> bool:
    """Whether two boxes (left, bottom, right, top) have an area in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def scatter(frame: pd.DataFrame, anchors: Sequence[Anchor]) -> alt.LayerChart | alt.FacetChart:
    """Clean against robust accuracy with 95 % intervals, the Pareto front, and published results set apart."""
    published = pd.DataFrame(anchors, columns=["label", "clean", "robust", "attack", "source"])
    x, y = (ends([*frame[key], *published[key]]) for key in ("clean", "robust"))
    points = zip(frame["clean"], frame["robust"], frame["short"], strict=True)
    bars = zip(frame["clean_low"], frame["robust"], frame["clean_high"], strict=True)
    fronts = pd.concat([pareto_front(equals) for _, equals in frame.groupby("family")])
    places = label_places(list(points), x, y, [*bars, *stairs(fronts)])
    frame = frame.assign(label_x=[left for left, _ in places], label_y=[middle for _, middle in places])
    across = alt.X("clean:Q", title="clean accuracy, %", scale=alt.Scale(domain=x, nice=False), axis=WITHIN)
    upward = alt.Y("robust:Q", title="robust accuracy, %", scale=alt.Scale(domain=y, nice=False), axis=WITHIN)
    colour = alt.Color("branch:N", scale=COLOURS, legend=alt.Legend(title="branch", orient="top"))
    base = alt.Chart(frame).encode(x=across, y=upward, color=colour)
    front = alt.Chart(fronts).mark_line(strokeDash=[4, 4], color="#8a98a0").encode(detail="family:N")
    marks = base.mark_point(filled=True, size=110, opacity=0.95).encode(
        shape=alt.Shape("branch:N", scale=SHAPES),
        tooltip=[
            alt.Tooltip("checkpoint:N"),
            alt.Tooltip("branch:N"),
            alt.Tooltip("design:N"),
            alt.Tooltip("learned_from:N", title="learned from"),
            alt.Tooltip("clean_interval:N", title="clean, 95 %"),
            alt.Tooltip("robust_interval:N", title="robust, 95 %"),
            alt.Tooltip("attack:N"),
            alt.Tooltip("n:Q", format=","),
        ],
    )
    layers: list[alt.Chart] = [
        front.encode(x=across, y=upward, order="clean:Q"),
        base.mark_rule(opacity=0.45, clip=True).encode(x="clean_low:Q", x2="clean_high:Q"),
        base.mark_rule(opacity=0.45, clip=True).encode(y="robust_low:Q", y2="robust_high:Q"),
        base.mark_text(align="left", fontSize=12, opacity=alt.ExprRef(NAMED)).encode(
            x="label_x:Q", y="label_y:Q", text="short:N"
        ),
        marks,
    ]
    if anchors:
        apart = alt.Chart(published).encode(x=across, y=upward)
        tooltip = [alt.Tooltip(f"{name}:N") for name in published]
        layers.append(apart.mark_point(shape="cross", size=90, color="#8a98a0").encode(tooltip=tooltip))
        layers.append(apart.mark_text(align="right", dx=-10, color="#8a98a0").encode(text="label:N"))
    return alt.layer(*layers).properties(height=HEIGHT)


def training_chart(log: pd.DataFrame) -> alt.Chart:
    """Training accuracy by epoch, on clean batches and on those attacked in training; percent."""
    kinds = {"clean_accuracy": "clean", "robust_accuracy": "adversarial"}
    tidy = log.rename(columns=kinds).melt("epoch", list(kinds.values()), var_name="images", value_name="accuracy")
    tidy = tidy.dropna(subset="accuracy").assign(accuracy=lambda frame: 100 * frame["accuracy"])
    scale = alt.Scale(domain=list(kinds.values()), range=["#1b8ea3", "#e0681f"])
    return (
        alt.Chart(tidy)
        .mark_line(point=alt.OverlayMarkDef(size=50))
        .encode(
            x=alt.X("epoch:O", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("accuracy:Q", title="accuracy, %", scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=5)),
            color=alt.Color("images:N", scale=scale, legend=alt.Legend(orient="top", title="images")),
            tooltip=["epoch:O", "images:N", alt.Tooltip("accuracy:Q", format=".1f")],
        )
        .properties(height=340)
    )


def class_rows(card: api.ModelCard, branch: api.Branch) -> pd.DataFrame:
    """One row a class and kind of one branch; percent with its 95 % interval. Empty for cards without breakdowns."""
    rows: list[dict[str, object]] = []
    for breakdown in card.breakdowns:
        if breakdown.setting != api.branch_setting(branch):
            continue
        for name, n, correct in zip(card.classes, breakdown.class_n, breakdown.class_correct, strict=True):
            if n == 0:
                continue
            i = api.wilson(correct, n)
            rows.append({
                "class": name, "kind": "clean" if breakdown.attack is None else "robust",
                "accuracy": 100 * i.value, "low": 100 * i.low, "high": 100 * i.high, "n": n,
            })  # fmt: skip
    return pd.DataFrame(rows)


def class_chart(rows: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Clean and robust accuracy of each class with its interval, the least robust class first."""
    order = rows.query("kind == 'robust'").sort_values("accuracy")["class"].tolist()
    scale = alt.Scale(domain=["clean", "robust"], range=["#1b8ea3", "#e0681f"])
    base = alt.Chart(rows).encode(
        y=alt.Y("class:N", sort=order, title=None, axis=alt.Axis(labelOverlap=False)),
        color=alt.Color("kind:N", scale=scale, legend=alt.Legend(orient="top", title=None)),
    )
    bars = base.mark_rule(strokeWidth=2, opacity=0.5).encode(x="low:Q", x2="high:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("accuracy:Q", title="accuracy, %", scale=alt.Scale(domain=[0, 100])),
        shape=alt.Shape("kind:N", scale=alt.Scale(domain=["clean", "robust"], range=["circle", "diamond"])),
        tooltip=["class:N", "kind:N", alt.Tooltip("accuracy:Q", format=".1f"), alt.Tooltip("n:Q", title="images")],
    )
    return alt.layer(bars, points).properties(height=340)
