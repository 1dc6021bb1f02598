"""What the Attribution page gives to take away: the maps of the moment, and its settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.maps import Seen, View
from app.charts import attribution
from app.shown import Shown
from app.takeaway.tray import About, offer


def offer_maps(
    seen: Sequence[Seen], limits: Sequence[float], shape: npt.NDArray[np.bool_] | None, caption: str
) -> None:
    """Four maps, on white whatever the page's colours; their values by pixel as CSV."""

    def title(one: Seen) -> str:
        return f"λ = {one.view.setting.affine:g}, {'clean' if one.view.attack is None else 'attacked'} image"

    def rows() -> pd.DataFrame:
        parts: list[pd.DataFrame] = []
        for one in seen:
            y, x = np.indices(one.values.shape)
            parts.append(pd.DataFrame({"map": title(one), "x": x.ravel(), "y": y.ravel(), "value": one.values.ravel()}))
        return pd.concat(parts, ignore_index=True)

    offer(
        "Where the network looks", caption,
        lambda: [
            (title(one), attribution.picture(one.image, one.values, limit, False, shape))
            for one, limit in zip(seen, limits, strict=True)
        ],
        rows,
    )  # fmt: skip


def about(shown: Shown, views: Sequence[View], method: str, held: str) -> About:
    attack = views[1].attack
    assert attack is not None
    words = (
        f"{shown.card.norm_design.label}; {method}, of the {views[0].target}; λ of the AP "
        f"{views[0].setting.affine:g} and {views[2].setting.affine:g}, NS {held}; {attack.label}"
    )
    settings = {
        "settings": [views[at].setting.as_json() for at in (0, 2)], "attack": attack.label, "method": method,
        "explained": views[0].target, "image": views[0].index,
    }  # fmt: skip
    return About("attribution", [shown.card], words, settings)
