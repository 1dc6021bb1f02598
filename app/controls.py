"""The controls that pages share: which checkpoint, and the line through its settings that a slider moves along."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator

from app.selection import DEFAULTS, HELD, PREFERRED, SLIDES


def line_controls(
    row: DeltaGenerator, names: list[str], prefix: str = "", preferred: str = PREFERRED, label: str = "Checkpoint"
) -> tuple[str, str, str]:
    """Checkpoint, and the engine's names of what the slider moves and of what is held; all are URL parameters.

    prefix, label: of their names and before the first, where a page has two such rows.
    """
    first = names.index(preferred) if preferred in names else 0
    model = row.selectbox(label, names, first, key=f"{prefix}model", width=225, bind="query-params")
    slide = SLIDES[
        row.segmented_control(
            "The slider moves",
            list(SLIDES),
            default=DEFAULTS["slide"],
            key=f"{prefix}slide",
            required=True,
            bind="query-params",
        )
    ]
    key, title = ("ns", "Statistics (NS)") if slide == "ap" else ("ap", "Affine parameters (AP)")
    options = HELD[slide]
    held = row.segmented_control(
        title, list(options), default=DEFAULTS[key], key=f"{prefix}{key}", required=True, bind="query-params"
    )
    return model, slide, options[held]
