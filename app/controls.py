"""The controls that pages share: which checkpoint, and the line through its settings that a slider moves along."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator

from app.selection import DEFAULTS, HELD, PREFERRED, SLIDES


def line_controls(row: DeltaGenerator, names: list[str]) -> tuple[str, str, str]:
    """Checkpoint, and the engine's names of what the slider moves and of what is held; all are URL parameters."""
    first = names.index(PREFERRED) if PREFERRED in names else 0
    model = row.selectbox("Checkpoint", names, first, key="model", width=225, bind="query-params")
    slide = SLIDES[
        row.segmented_control(
            "The slider moves", list(SLIDES), default=DEFAULTS["slide"], key="slide", required=True, bind="query-params"
        )
    ]
    key, label = ("ns", "Statistics (NS)") if slide == "ap" else ("ap", "Affine parameters (AP)")
    options = HELD[slide]
    held = row.segmented_control(
        label, list(options), default=DEFAULTS[key], key=key, required=True, bind="query-params"
    )
    return model, slide, options[held]
