"""The paper's experiments, claim by claim (arXiv 2403.19150), and those beyond it, on every family of checkpoints.

Usage::

    finding = EXPERIMENTS["E3"].run(family, n=2000, seed=0)

A new experiment is a module with an `EXPERIMENT` and a line in `_MODULES`.
"""

from engine.experiments import (
    affine_only,
    affine_path,
    cross_statistics,
    equal_ap,
    grid,
    halves,
    layer_distances,
    noise_control,
    over_epochs,
    puzzle,
    router,
    transplant,
    two_tasks,
)
from engine.experiments.base import Chart, Experiment, Finding, Outcome, Prediction, Table, Verdict
from engine.experiments.family import Family, families, family_of
from engine.experiments.store import finding_path, load_finding, load_findings, save_finding

_MODULES = (
    puzzle,
    cross_statistics,
    halves,
    equal_ap,
    layer_distances,
    over_epochs,
    noise_control,
    grid,
    two_tasks,
    affine_only,
    transplant,
    affine_path,
    router,
)
EXPERIMENTS: dict[str, Experiment] = {module.EXPERIMENT.name: module.EXPERIMENT for module in _MODULES}

__all__ = [
    "EXPERIMENTS",
    "Chart",
    "Experiment",
    "Family",
    "Finding",
    "Outcome",
    "Prediction",
    "Table",
    "Verdict",
    "families",
    "family_of",
    "finding_path",
    "load_finding",
    "load_findings",
    "save_finding",
]
