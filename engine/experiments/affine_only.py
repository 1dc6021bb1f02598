"""E9, side experiments: how much of a clean branch AP alone can buy a Madry network, and how far they have to move."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.data.base import Progress
from engine.evaluation import Bench, Trial
from engine.experiments.base import Chart, Experiment, Outcome, Steps, table
from engine.experiments.family import Family
from engine.experiments.intervals import above, bootstrap
from engine.experiments.measure import MakeAffine, accuracy, paired, recomposed
from engine.norm import at, dual_layers
from engine.sweep import pgd
from engine.values import Branch, NormSetting, Reestimated, branch_setting

STEPS = 10
RADII = (0.0, 0.03, 0.1, 0.3, 1.0)
TUNED = {"ap-ns-tuned": "AP trained, NS of clean images", "ap-tuned": "AP trained, NS untouched"}


def clipped(radius: float) -> MakeAffine:
    """The clean AP, each number moved to within `radius` of the adversarial one."""

    def within(clean: Tensor, adv: Tensor) -> Tensor:
        return (adv + (clean - adv).clamp(-radius, radius)).detach()

    return lambda _, layer: (within(*layer.weight), within(*layer.bias))


def same_branch(madry: Bench, tuned: Bench) -> bool:
    """Whether the tuned network's adversarial branch is the Madry network, bit by bit."""
    one, other = (at(bench.model, branch_setting(Branch.ADV)).state_dict() for bench in (madry, tuned))
    return all(torch.equal(one[name], other[name]) for name in one)


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    attack, clean_ns = pgd(STEPS, family.eps("madry")), NormSetting(1.0, Reestimated("clean"))
    wanted: dict[str, tuple[str, NormSetting]] = {
        "Madry network": ("madry", branch_setting(Branch.ADV)),
        "NS of clean images alone": ("madry", clean_ns),
    }
    wanted |= {TUNED[r]: (r, branch_setting(Branch.CLEAN)) for r in TUNED if r in family.members}
    if "dual-bn" in family.members:
        wanted["dual BN, clean branch"] = ("dual-bn", branch_setting(Branch.CLEAN))
    steps = Steps(len(wanted) + len(RADII), progress)
    rows: list[tuple[str, str, float, float, float]] = []
    clean: dict[str, Tensor] = {}
    for name, (role, setting) in wanted.items():
        clean[name], robust = family.bench(role, n).correct(Trial(setting, n, seed), [None, attack], steps.inside)
        rows += [(name, "clean", *accuracy(clean[name]).cells), (name, "attacked", *accuracy(robust).cells)]
        steps.done()
    bench = family.bench("ap-ns-tuned", n)
    freedom: list[tuple[float, str, float, float, float]] = []
    for radius in RADII:
        other = Bench(recomposed(bench.model, clipped(radius)), bench.test, bench.calibration)
        for kind, right in zip(
            ("clean", "attacked"), other.correct(Trial(clean_ns, n, seed), [None, attack], steps.inside), strict=True
        ):
            freedom.append((radius, kind, *accuracy(right).cells))
        steps.done()
    before, after = clean["Madry network"], clean[TUNED["ap-ns-tuned"]]
    gain = paired(after, before, seed)
    trained = sum(layer.weight[0].numel() + layer.bias[0].numel() for _, layer in dual_layers(bench.model))
    total = sum(p.numel() for p in at(bench.model, branch_setting(Branch.ADV)).parameters())
    roles = [role for role in TUNED if role in family.members]
    kept = all(same_branch(family.bench("madry", n), family.bench(role, n)) for role in roles)
    verdict, full = "undecided", "There is no dual-BN network here to compare with."
    if "dual-bn" in family.members:
        ends = torch.stack([before, clean["dual BN, clean branch"], after], 1)
        half = bootstrap(ends, lambda m: m[:, 2] - (m[:, 0] + m[:, 1]) / 2, seed)
        whole = paired(clean["dual BN, clean branch"], before, seed)
        verdict = above(half, 0.0)
        full = f"A dual-BN network trained for both has a clean branch {whole.points} above the Madry network."
    alone = paired(clean["NS of clean images alone"], before, seed)
    sentence = (
        f"Training {trained:,} AP ({100 * trained / total:.1f} % of the numbers) on clean images changes the clean "
        f"accuracy by {gain.points}; new NS without training by {alone.points}. {full} The adversarial branch is "
        f"{'still the Madry network, bit by bit' if kept else 'no longer the Madry network'}."
    )
    recipe = family.members["ap-ns-tuned"].config
    return Outcome(
        verdict,
        sentence,
        attack.label,
        (
            f"The AP were trained for {recipe['epochs']} epoch of {recipe['n_train']:,} images at lr {recipe['lr']:g}; "
            "one seed; a longer training may buy more.",
            "The freedom curve clips the AP after training (and re-estimates the NS), where the authors' code clips "
            "while training; clipped AP that were trained so would do better.",
        ),
        (),
        (
            table(
                "accuracy",
                f"Clean accuracy and accuracy under {attack.label} (white-box) of each clean branch.",
                ("clean branch", "images", "value", "low", "high"),
                rows,
            ),
            table(
                "freedom",
                "The trained clean AP clipped to within r of the adversarial ones, NS re-estimated on clean images.",
                ("r", "images", "value", "low", "high"),
                freedom,
            ),
        ),
        (
            Chart(
                *("accuracy", "bars", "clean branch", "value", "", "images right"),
                "What a clean branch costs: from nothing, over NS and AP alone, to a network trained for both.",
                *("low", "high", "images"),
                percent=True,
            ),
            Chart(
                *("freedom", "lines", "r", "value", "how far each AP may move, r", "images right"),
                "How far the AP have to move from the adversarial ones.",
                *("low", "high", "images"),
                percent=True,
            ),
        ),
        f"/?model={family.members['ap-ns-tuned'].name}",
    )


EXPERIMENT = Experiment(
    "E9",
    "A clean branch for a handful of numbers",
    "Training the AP alone on clean images, with all else frozen, buys an adversarially trained network more than half "
    "of the clean accuracy that a network trained with two BN has over it.",
    compute,
    needs=("madry", "ap-ns-tuned"),
    uses=("ap-tuned", "dual-bn"),
)
