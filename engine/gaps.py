"""How far clean and attacked images lie apart in every norm layer, at every stop of a line: the domain gap at equal AP.

Usage::

    tracks = {line: make_track(bench, LINES[line], STOPS, attack, n=256, seed=0) for line in LINES}
    save_tracks(path, weights_sha256, tracks);  load_tracks(path, weights_sha256)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from engine.attacks import PGD
from engine.data.base import Progress
from engine.evaluation import Bench
from engine.features import LayerGap, statistics_gaps
from engine.files import parse_json, write_atomic
from engine.sources import CLEAN, Source, take_sample
from engine.values import InputError, NormSetting


@dataclass(frozen=True, slots=True)
class Track:
    """gaps[stop][layer] between n clean test images and the same images attacked, both through the network there."""

    lams: tuple[float, ...]
    attack: str
    n: int
    seed: int
    gaps: tuple[tuple[LayerGap, ...], ...]

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(gap.layer for gap in self.gaps[0])


def make_track(
    bench: Bench,
    line: Callable[[float], NormSetting],
    lams: Sequence[float],
    attack: PGD,
    n: int,
    seed: int,
    progress: Progress | None = None,
) -> Track:
    """White-box at every stop, all steps; the same images and the same seed throughout."""
    attack = replace(attack, stop="never")
    known: dict[NormSetting, tuple[LayerGap, ...]] = {}
    for done, setting in enumerate(map(line, lams)):
        if setting in known:
            continue
        sample = take_sample(bench, setting, (CLEAN, Source("adv", attack)), n, seed)
        clean, adv = ({k: m.whole for k, m in sample.moments[s].items()} for s in ("clean", "adv"))
        known[setting] = tuple(statistics_gaps(clean, adv))
        if progress is not None:
            progress(done + 1, len(lams))
    return Track(tuple(lams), attack.label, n, seed, tuple(known[line(lam)] for lam in lams))


def save_tracks(path: Path, weights_sha256: str, tracks: dict[str, Track]) -> None:
    value = {"weights_sha256": weights_sha256, "tracks": {line: asdict(track) for line, track in tracks.items()}}
    write_atomic(path, json.dumps(value).encode())


def load_tracks(path: Path, weights_sha256: str) -> dict[str, Track]:
    """The tracks of a file. InputError where it is damaged or was made with other weights."""
    try:
        value = parse_json(path.read_text())
        made_with = value["weights_sha256"]
        tracks = {line: _track(fields) for line, fields in value["tracks"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run the sweep again.") from None
    if made_with != weights_sha256:
        raise InputError(f"{path} was made with other weights; delete it and run the sweep again.")
    return tracks


def _track(fields: dict[str, list[list[dict[str, float]]]]) -> Track:
    gaps = tuple(tuple(LayerGap(**gap) for gap in row) for row in fields["gaps"])  # pyright: ignore[reportArgumentType]
    if not gaps or len(gaps) != len(fields["lams"]) or len({len(row) for row in gaps}) != 1:
        raise ValueError("it has not one row of gaps a stop")
    return Track(**(fields | {"gaps": gaps, "lams": tuple(fields["lams"])}))  # pyright: ignore[reportArgumentType]
