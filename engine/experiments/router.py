"""X3, an "oracle" that picks the branch for each image, and what is left of it once the attacker knows the rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.attacks import PGD, LogitsFn
from engine.data.base import Progress
from engine.evaluation import Bench, crafting_network, seeded
from engine.experiments.base import Chart, Experiment, Outcome, Steps, Verdict, table
from engine.experiments.family import Family
from engine.experiments.intervals import above, together
from engine.experiments.measure import accuracy, paired
from engine.norm import substitute
from engine.sweep import pgd
from engine.values import Branch, branch_setting

STEPS, SHARPNESS = 20, 20.0
"""The softened rule picks by sigmoid(SHARPNESS * score)."""
FALSE_ALARMS, N_THRESHOLD = 0.05, 512
CLEAN_MARGIN, ROBUST_MARGIN = 0.02, 0.05
"""What a router may lose against the clean branch on clean images and against the adversarial one under attack."""

Score = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(clean logits (m, k), adversarial logits (m, k), distance (m,)) -> (m,), at least 0 to pick the clean branch."""


Combine = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(clean logits (m, k), adversarial logits (m, k), score (m,)) -> logits (m, k)."""


def confidence_score(clean: Tensor, adv: Tensor, _: Tensor) -> Tensor:
    return clean.softmax(1).amax(1) - adv.softmax(1).amax(1)


def distance_score(threshold: float) -> Score:
    return lambda _clean, _adv, distance: 1 - distance / threshold


def picked(clean: Tensor, adv: Tensor, score: Tensor) -> Tensor:
    """The logits (m, k) of the branch that the rule picks."""
    return torch.where((score >= 0)[:, None], clean, adv)


def softened(clean: Tensor, adv: Tensor, score: Tensor) -> Tensor:
    """Log of the mixed probabilities (m, k): sigmoid(SHARPNESS * score) of the clean, the rest of the other branch."""
    weights = torch.stack([F.logsigmoid(SHARPNESS * score), F.logsigmoid(-SHARPNESS * score)])[:, :, None]
    return (torch.stack([clean.log_softmax(1), adv.log_softmax(1)]) + weights).logsumexp(0)


def larger(clean: Tensor, adv: Tensor, _: Tensor) -> Tensor:
    """Log of the larger probability of each class (m, k): its maximum is what the more confident branch says."""
    return torch.maximum(clean.log_softmax(1), adv.log_softmax(1))


class _Probe(nn.Module):
    """Passes images through `inner` and notes how far their channel means lie from its NS, squared, in variances."""

    def __init__(self, inner: nn.BatchNorm2d, notes: list[Tensor]) -> None:
        super().__init__()
        self.inner, self.notes = inner, notes

    def forward(self, x: Tensor) -> Tensor:
        assert self.inner.running_mean is not None
        assert self.inner.running_var is not None
        shift = x.mean((2, 3)) - self.inner.running_mean
        self.notes.append((shift.square() / (self.inner.running_var + self.inner.eps)).mean(1))
        return self.inner(x)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both branches at once: images (m, 3, h, w) -> clean logits, adversarial logits, distance from the clean NS."""

    clean: nn.Module
    adv: LogitsFn

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        notes: list[Tensor] = []
        probed = substitute(self.clean, lambda _, m: _Probe(m, notes).eval() if isinstance(m, nn.BatchNorm2d) else None)
        logits = probed(images)
        return logits, self.adv(images), torch.stack(notes).mean(0)


def alarm_threshold(pair: Pair, bench: Bench) -> float:
    """The distance that 5 % of the calibration images exceed; these are training images, none of those judged."""
    if bench.calibration is None:
        raise ValueError("no calibration images")
    count = min(N_THRESHOLD, len(bench.calibration))
    with torch.no_grad():
        chunks = [bench.calibration.tensors(i, min(count, i + 64))[0].to(bench.device) for i in range(0, count, 64)]
        distances = torch.cat([pair(images)[2] for images in chunks])
    return float(distances.quantile(1 - FALSE_ALARMS))


def verdicts(
    judges: dict[str, LogitsFn],
    craft: LogitsFn | None,
    attack: PGD,
    bench: Bench,
    n: int,
    seed: int,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """By judge: which of the first n images are right, bool (n,), attacked through `craft` (None: left clean)."""
    parts: dict[str, list[Tensor]] = {name: [] for name in judges}
    for start, (images, labels) in bench.batches(n):
        seen = images if craft is None else attack(craft, images, labels, generator=seeded(seed, start))
        with torch.no_grad():
            for name, judge in judges.items():
                parts[name].append((judge(seen).argmax(1) == labels).cpu())
        if progress is not None:
            progress(start + len(labels), n)
    return {name: torch.cat(found) for name, found in parts.items()}


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    bench, attack = family.bench("dual-bn", n), replace(pgd(STEPS, family.eps("dual-bn")), stop="never")
    ends = [bench.view(branch_setting(branch)) for branch in Branch]
    fast = [crafting_network(end) for end in ends]
    pair, crafting = Pair(ends[0], ends[1]), Pair(ends[0], fast[1])
    rules: dict[str, tuple[Score, Combine]] = {
        "more confident": (confidence_score, larger),
        "near the clean NS": (distance_score(alarm_threshold(pair, bench)), softened),
    }
    judges: dict[str, LogitsFn] = {"clean branch": ends[0], "adversarial branch": ends[1]}
    attacks: dict[str, LogitsFn | None] = {
        "none": None,
        "on the clean branch": fast[0],
        "on the adversarial branch": fast[1],
        "on both at once": lambda images: fast[0](images).log_softmax(1) + fast[1](images).log_softmax(1),
    }
    for name, (score, form) in rules.items():
        judges[name] = _through(picked, score, pair)
        attacks[f"on the rule: {name}"] = _through(form, score, crafting)
    steps = Steps(len(attacks), progress)
    found: dict[str, dict[str, Tensor]] = {}
    for name, craft in attacks.items():
        found[name] = verdicts(judges, craft, attack, bench, n, seed, steps.inside)
        found[name]["either branch"] = found[name]["clean branch"] | found[name]["adversarial branch"]
        steps.done()
    rows: list[tuple[str, str, float, float, float]] = []
    for judge in (*judges, "either branch"):
        kept = torch.stack([found[name][judge] for name in attacks]).cummin(0).values  # right so far, clean first
        for name in attacks:
            rows.append((judge, name, *accuracy(found[name][judge] & kept[0]).cells))
        found.setdefault("worst", {})[judge] = kept[-1]
        rows.append((judge, "worst of all", *accuracy(kept[-1]).cells))
    parts: list[Verdict] = []
    sentences: list[str] = []
    for name in rules:
        clean = paired(found["none"][name], found["none"]["clean branch"], seed)
        robust = paired(found["worst"][name], found["worst"]["adversarial branch"], seed)
        parts.append(together([above(clean, -CLEAN_MARGIN), above(robust, -ROBUST_MARGIN)]))
        tried = ("on the clean branch", "on the adversarial branch", f"on the rule: {name}")
        left = [accuracy(found[attack][name] & found["none"][name]).percent for attack in tried]
        sentences.append(
            f"Rule '{name}': clean accuracy {clean.points} against the clean branch; attacks on the clean and on the "
            f"adversarial branch alone leave {left[0]} and {left[1]} right, the one made for the rule {left[2]}, the "
            f"worst of all {accuracy(found['worst'][name]).percent}, {robust.points} against the adversarial branch."
        )
    return Outcome(
        "holds" if "holds" in parts else "fails" if set(parts) == {"fails"} else "undecided",
        " ".join(sentences),
        f"{attack.label}, every image through all steps; adaptive through the rule itself",
        (
            f"'near the clean NS' measures how far an image's channel means lie from the clean branch's NS, mean over "
            f"layers; it takes the adversarial branch beyond what {100 * FALSE_ALARMS:g} % of {N_THRESHOLD} training "
            "images exceed.",
            "Attacks on one branch are transfer attacks on a rule. That on 'more confident' goes through the larger "
            "probability of each class, whose maximum is the rule's own verdict; that on 'near the clean NS' through "
            f"its softened form (sigmoid, sharpness {SHARPNESS:g}). A cleverer attacker may do better still.",
            "'Either branch' needs the label to pick: a bound, not a classifier.",
        ),
        (),
        (
            table(
                "accuracy",
                "Right clean and under each attack; 'worst of all' only where right under every one.",
                ("judge", "attack", "value", "low", "high"),
                rows,
            ),
        ),
        (
            Chart(
                *("accuracy", "bars", "attack", "value", "attack", "images right"),
                "The branches, the rules that pick between them, and what each attack leaves of them.",
                *("low", "high", "judge"),
                percent=True,
            ),
        ),
        f"/attack?model={family.members['dual-bn'].name}",
    )


def _through(combine: Combine, score: Score, pair: Pair) -> LogitsFn:
    def logits(images: Tensor) -> Tensor:
        clean, adv, distance = pair(images)
        return combine(clean, adv, score(clean, adv, distance))

    return logits


EXPERIMENT = Experiment(
    "X3",
    "A router between the branches",
    "A rule that picks the branch for each image has the clean branch's accuracy (within "
    f"{100 * CLEAN_MARGIN:g} points) and the adversarial branch's robustness (within {100 * ROBUST_MARGIN:g}), even "
    "against an attacker who knows the rule.",
    compute,
    needs=("dual-bn",),
    beyond=True,
)
