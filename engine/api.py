"""What the app and the command line use: everything else in `engine` is reached through here.

Usage::

    bench, card = open_bench("shapes-dual-bn", device=pick_device("auto"))
    record = bench.evaluate(branch_setting(Branch.ADV), pgd(20, 8 / 255), n=1000, seed=0)
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from engine import __version__, store
from engine.attacks import (
    APGD,
    FAB,
    PGD,
    Attack,
    AttackStep,
    AutoAttack,
    LogitsFn,
    Noise,
    Square,
    fgsm,
    minimal_eps,
    quick_auto,
    resized,
)
from engine.attacks.half import half_supported
from engine.attribution import (
    METHODS,
    Maps,
    MethodName,
    Shares,
    TargetName,
    attribute,
    bootstrap,
    explained,
    shares,
)
from engine.cards import Crafting, EvalRecord, ModelCard
from engine.checkpoint import find_checkpoints, load_card, load_checkpoint
from engine.data import DATASETS, N_CALIBRATION, calibration_split, cifar, evaluation_split, load_data, picture, shapes
from engine.data.base import SPLITS, ImageSet, Progress, Split, checksum
from engine.evaluation import Bench, Trial, crafting_network, judged, pick_device, seeded
from engine.experiments import EXPERIMENTS, Experiment, Family, Finding, families, family_of, load_findings
from engine.experiments.intervals import Estimate, difference, paired
from engine.features import (
    Moments,
    affine_gaps,
    edges,
    histograms,
    measure,
    statistics_gaps,
    stored_gaps,
    wasserstein1,
)
from engine.gaps import Track, load_tracks
from engine.models import register
from engine.norm import at, dual_layers
from engine.strip import Strip, load_strips, make_strip
from engine.suspicion import Flag, suspicions
from engine.sweep import (
    LINES,
    MAIN_EPS,
    PLANE,
    STOPS,
    Curve,
    canonical,
    curve,
    header,
    load_sweep,
    pgd,
    plan,
    run_sweep,
    same_line,
    strip_key,
    sweep_header,
)
from engine.values import (
    CHECKPOINT_NAME,
    DESIGNS,
    Branch,
    Cancelled,
    InputError,
    Interval,
    LayerMix,
    NormDesign,
    NormSetting,
    Reestimated,
    Statistics,
    Stored,
    ThreatModel,
    branch_setting,
    eps_label,
    parse_fraction,
    wilson,
)
from engine.watch import Film, Surface, Transfer, film, spectrum, surface, transfer

CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoints"
FINDINGS = "paper"
"""Folder of the experiments' findings, beside the checkpoints."""
SEED = 0
"""Seed of the shipped sweeps and headline figures."""


def checkpoint_folder(name: str, root: Path = CHECKPOINTS) -> Path:
    """The folder of a checkpoint. InputError lists what there is for a name that is not there."""
    folder = root / name
    if not re.fullmatch(CHECKPOINT_NAME, name) or not folder.is_dir():
        known = ", ".join(path.name for path in find_checkpoints(root)) or "none yet; train one"
        raise InputError(f"There is no checkpoint {name!r}; there are: {known}.")
    return folder


def list_cards(root: Path = CHECKPOINTS) -> tuple[list[ModelCard], list[str]]:
    """All readable cards by name, and one sentence for each that cannot be read."""
    cards: list[ModelCard] = []
    problems: list[str] = []
    for folder in find_checkpoints(root):
        try:
            cards.append(load_card(folder))
        except InputError as error:
            problems.append(str(error))
    return cards, problems


def open_bench(
    name: str,
    device: torch.device,
    *,
    data: str | None = None,
    split: Split | None = None,
    n: int | None = None,
    data_dir: Path | None = None,
    allow_unofficial: bool = False,
    at_most: bool = False,
    root: Path = CHECKPOINTS,
) -> tuple[Bench, ModelCard]:
    """A checkpoint on the images it is judged on (by default its own held-out split, the first n images).

    at_most: fewer than n will do. A path to images that only the card names is not followed out of the data folder.
    """
    model, card = load_checkpoint(checkpoint_folder(name, root), device)
    where: dict[str, Any] = {"data_dir": data_dir, "allow_unofficial": allow_unofficial, "classes": card.classes}
    where["from_card"], data = data is None, data or str(card.data["name"])
    if not data:
        raise InputError(f"The card of {name} names no images; add --data cifar10, or the path of your own.")
    test = load_data(data, split or evaluation_split(data), n, at_most=at_most, **where)
    if test.classes != card.classes:
        raise InputError(f"{name} tells {card.classes[0]}, {card.classes[1]} ... apart; {data} has other classes.")
    try:
        calibration = load_data(data, calibration_split(data), N_CALIBRATION, at_most=True, **where)
    except InputError:  # NS can then not be re-estimated, and asking for it says so
        calibration = None
    return Bench(model, test, calibration), card


def open_families(
    device: torch.device, *, data_dir: Path | None = None, allow_unofficial: bool = False, root: Path = CHECKPOINTS
) -> dict[str, Family]:
    """The families of the readable checkpoints, by name; a network is opened when an experiment asks for it."""

    def open_member(name: str, n: int) -> Bench:
        return open_bench(name, device, n=n, data_dir=data_dir, allow_unofficial=allow_unofficial, root=root)[0]

    return families(list_cards(root)[0], open_member, root)


__all__ = [
    "APGD",
    "CHECKPOINTS",
    "DATASETS",
    "DESIGNS",
    "EXPERIMENTS",
    "FAB",
    "FINDINGS",
    "LINES",
    "MAIN_EPS",
    "METHODS",
    "PGD",
    "PLANE",
    "SEED",
    "SPLITS",
    "STOPS",
    "Attack",
    "AttackStep",
    "AutoAttack",
    "Bench",
    "Branch",
    "Cancelled",
    "Crafting",
    "Curve",
    "Estimate",
    "EvalRecord",
    "Experiment",
    "Family",
    "Film",
    "Finding",
    "Flag",
    "ImageSet",
    "InputError",
    "Interval",
    "LayerMix",
    "LogitsFn",
    "Moments",
    "Maps",
    "MethodName",
    "ModelCard",
    "Noise",
    "NormDesign",
    "NormSetting",
    "Progress",
    "Reestimated",
    "Shares",
    "Split",
    "Square",
    "Statistics",
    "Stored",
    "Strip",
    "Surface",
    "TargetName",
    "ThreatModel",
    "Track",
    "Transfer",
    "Trial",
    "__version__",
    "affine_gaps",
    "at",
    "attribute",
    "bootstrap",
    "branch_setting",
    "calibration_split",
    "canonical",
    "checkpoint_folder",
    "checksum",
    "cifar",
    "crafting_network",
    "curve",
    "difference",
    "dual_layers",
    "edges",
    "eps_label",
    "evaluation_split",
    "explained",
    "family_of",
    "fgsm",
    "film",
    "half_supported",
    "header",
    "histograms",
    "judged",
    "list_cards",
    "load_card",
    "load_checkpoint",
    "load_data",
    "load_findings",
    "load_strips",
    "load_sweep",
    "load_tracks",
    "make_strip",
    "measure",
    "minimal_eps",
    "open_bench",
    "open_families",
    "paired",
    "parse_fraction",
    "pgd",
    "pick_device",
    "picture",
    "plan",
    "quick_auto",
    "register",
    "resized",
    "run_sweep",
    "same_line",
    "seeded",
    "shapes",
    "shares",
    "spectrum",
    "store",
    "statistics_gaps",
    "stored_gaps",
    "strip_key",
    "surface",
    "suspicions",
    "sweep_header",
    "transfer",
    "wasserstein1",
    "wilson",
]
