"""From a selection to what the drag component shows: curves, images and layer gaps, each with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.command import evaluate_command, sweep_command
from app.components.blend import Axis, BlendPayload, Curve, Curves, Gap, Images, Layers, Predictions, Start, encode
from app.selection import Selection
from app.shown import Shown
from app.takeaway.figure import source_line
from engine import api

MAGNIFY = 16


@dataclass(frozen=True, slots=True)
class Sources:
    """What a page has for a selection; None where it is not there (yet)."""

    clean: api.Curve | None
    robust: api.Curve | None
    strip: api.Strip | None
    track: api.Track | None
    computed: bool = False


def sources(shown: Shown, selection: Selection) -> Sources:
    """What was precomputed for a selection."""
    design, attack = shown.card.norm_design, selection.engine_attack
    clean = api.curve(shown.records, design, api.LINES[selection.line], None)
    robust = api.curve(shown.records, design, api.LINES[selection.line], attack) if attack else None
    line = api.same_line(selection.line, design)
    strip_attack = attack or api.pgd(10, api.MAIN_EPS)
    return Sources(clean, robust, shown.strips.get(api.strip_key(line, strip_attack)), shown.tracks.get(line))


def common_stops(found: Sources) -> list[float]:
    """Lambdas that every curve has."""
    assert found.clean is not None
    stops = set(found.clean.lams) & set(found.robust.lams if found.robust else found.clean.lams)
    return sorted(stops)


def _curve(curve: api.Curve, stops: list[float]) -> Curve:
    chosen = [record.interval for lam, record in zip(curve.lams, curve.records, strict=True) if lam in stops]
    return Curve([i.value for i in chosen], [i.low for i in chosen], [i.high for i in chosen], chosen[0].n)


def _images(shown: Shown, strip: api.Strip, attacked: bool) -> Images | None:
    if shown.bench is None:
        return None
    test, order = shown.bench.test, strip.indices
    clean = Predictions(strip.clean_class.tolist(), strip.clean_confidence.round(3).tolist())
    adversarial = Predictions(strip.adv_class.tolist(), strip.adv_confidence.round(3).tolist())
    return Images(
        side=test.images.shape[-1],
        count=len(order),
        pixels=encode(test.images[order]),
        labels=test.labels[order].tolist(),
        classes=test.classes,
        delta_stops=strip.lams.tolist(),
        clean=clean,
        deltas=encode(strip.deltas) if attacked else None,
        adversarial=adversarial if attacked else None,
        magnify=MAGNIFY,
    )


def layers(shown: Shown, selection: Selection, track: api.Track | None, stops: list[float]) -> Layers:
    """Layer gaps; those of the statistics only where they were precomputed."""
    statistics: Gap | None = None
    names: list[str] = []
    if track is not None:
        names = list(track.layers)
        statistics = Gap(track.lams, [[gap.mean + gap.sigma for gap in row] for row in track.gaps])
    rows = [api.affine_gaps(shown.model, api.LINES[selection.line](lam).affine) for lam in stops]
    names = names or list(rows[0])
    affine = Gap(stops, [[row[name] for name in names] for row in rows])
    stored = [gap.mean + gap.sigma for gap in api.stored_gaps(shown.model)]
    caption = (
        "Statistics gap: how far the clean and the attacked images lie apart inside the network at this λ "
        "(shift of the mean in deviations + log ratio of deviations, averaged over channels"
        + (f"; {track.attack}, n {track.n})" if track else ")")
        + ". Pale: the same between the two branches' stored NS. "
        "Affine gap: how far γ and β have moved from the clean AP."
    )
    return Layers(names, statistics, affine, stored, caption)


def command(shown: Shown, found: Sources) -> str:
    """What makes the curves again; of those that no sweep holds, their first point."""
    if not found.computed:
        return sweep_command(shown.card.name, shown.records, shown.tracks)
    return f"first λ: {evaluate_command(shown.card.name, _first(found))}"


def _first(found: Sources) -> api.EvalRecord:
    return (found.robust or found.clean).records[0]  # type: ignore[union-attr]


def provenance(shown: Shown, selection: Selection, found: Sources) -> str:
    """One line: n, how attacked, seed, weights, command."""
    record = _first(found)
    how = "Computed just now" if found.computed else "Precomputed"
    attack = f"{selection.engine_attack.label}, white-box at every λ" if selection.engine_attack else "no attack"
    images = f"{shown.card.data['name']} {shown.sweep.get('split', 'test')} images"
    return (
        f"{how} on {record.n:,} {images} · {attack} · bands: 95 % Wilson · seed {record.seed} · "
        f"weights {shown.card.weights_sha256[:8]} · {command(shown, found)}"
    )


def axis(slide: str, design: api.NormDesign) -> Axis:
    """What the slider moves: where the branches share all AP and differ in their heads, lambda moves the head."""
    if slide == "ns":
        return Axis("normalization statistics (NS)", "clean NS", "adversarial NS")
    return Axis() if design.share_head else Axis("linear head", "clean head", "adversarial head")


def build(shown: Shown, selection: Selection, found: Sources, start: Start, images_message: str) -> BlendPayload:
    """The component's payload; `found.clean` must be there."""
    assert found.clean is not None
    stops = common_stops(found)
    attack = selection.engine_attack
    images = _images(shown, found.strip, attack is not None) if found.strip is not None else None
    robust = found.robust if attack is not None else None
    return BlendPayload(
        stops=stops,
        curves=Curves(_curve(found.clean, stops), _curve(robust, stops) if robust else None),
        attack=attack.label if attack else "no attack",
        statistics=selection.held_label,
        provenance=provenance(shown, selection, found),
        axis=axis(selection.slide, shown.card.norm_design),
        images=images,
        images_message=images_message,
        layers=layers(shown, selection, found.track, stops),
        start=start,
        source=source_line([shown.card]),
    )


def accuracy_at(curve: api.Curve, lam: float) -> api.EvalRecord:
    """The record at the stop nearest to lambda."""
    index = int(np.abs(np.array(curve.lams) - lam).argmin())
    return curve.records[index]
