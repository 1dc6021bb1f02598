"""The controls that pages share; each is a URL parameter and explains its words where the mouse rests on its sign."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator

from app.selection import ATTACKS, DEFAULTS, EPS, HELD, PREFERRED, SLIDES, Selection
from app.words import word


def model_control(
    row: DeltaGenerator, names: list[str], prefix: str = "", preferred: str = PREFERRED, label: str = "Checkpoint"
) -> str:
    """Which trained network."""
    first = names.index(preferred) if preferred in names else 0
    return row.selectbox(
        label, names, first, key=f"{prefix}model", width=225, bind="query-params", help=word("Design")
    )  # fmt: skip


def eps_control(row: DeltaGenerator, prefix: str = "", label: str = "eps", disabled: bool = False) -> int:
    """eps as level/255."""
    level = row.selectbox(
        label, list(EPS), list(EPS).index(DEFAULTS["eps"]), key=f"{prefix}eps", width=110 if label == "eps" else 200,
        disabled=disabled, bind="query-params", help=word("eps"),
    )  # fmt: skip
    return EPS[level]


def line_controls(
    row: DeltaGenerator, names: list[str], prefix: str = "", preferred: str = PREFERRED, label: str = "Checkpoint"
) -> tuple[str, str, str]:
    """Checkpoint, and the engine's names of what the slider moves and of what is held.

    prefix, label: of their names and before the first, where a page has two such rows.
    """
    model = model_control(row, names, prefix, preferred, label)
    slide = SLIDES[
        row.segmented_control(
            "The slider moves", list(SLIDES), default=DEFAULTS["slide"], key=f"{prefix}slide", required=True,
            bind="query-params", help=word("λ", "AP", "NS"),
        )
    ]  # fmt: skip
    key, title, help_ = (
        ("ns", "Statistics (NS)", word("NS", "Stored NS", "Re-estimated NS"))
        if slide == "ap"
        else ("ap", "Affine parameters (AP)", word("AP"))
    )
    options = HELD[slide]
    held = row.segmented_control(
        title, list(options), default=DEFAULTS[key], key=f"{prefix}{key}", required=True, bind="query-params",
        help=help_,
    )  # fmt: skip
    return model, slide, options[held]


def selection_controls(
    row: DeltaGenerator, names: list[str], prefix: str = "", preferred: str = PREFERRED, label: str = "Checkpoint"
) -> Selection:
    """A checkpoint, a line through its settings and an attack."""
    model, slide, held = line_controls(row, names, prefix, preferred, label)
    attack = row.segmented_control(
        "Attack", ATTACKS, default=DEFAULTS["attack"], key=f"{prefix}attack", required=True, bind="query-params",
        help=word("FGSM", "PGD", "White-box"),
    )  # fmt: skip
    return Selection(model, slide, held, attack, eps_control(row, prefix, disabled=attack == "none"))
