"""The headline of a card: clean and PGD-20 accuracy of both branches, class by class, with their calibration.

Usage::

    records, breakdowns = headline(bench, card.norm_design, eps=8 / 255, n=10_000)
    record = auto_record(bench, Path(".auto.jsonl"), header(card, bench.test, seed=0), eps=8 / 255)   # hours; goes on
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.attacks import PGD, AutoAttack
from engine.cards import Breakdown, EvalRecord
from engine.data.base import Progress
from engine.evaluation import Bench, Trial, chunk_size
from engine.sweep import append, begun, pgd
from engine.values import Branch, NormDesign, ThreatModel, branch_setting

STEPS, BINS, SEED = 20, 15, 0


def calibration_error(confidence: Tensor, correct: Tensor, bins: int = BINS) -> float:
    """Expected calibration error in [0, 1]: sum over bins of n_b / n |accuracy_b - mean confidence_b|.

    confidence: (n,) probability of the predicted class; correct: (n,) bool. Bins of equal width, right end included
    (Guo et al. 2017, arXiv 1706.04599, equation 5).
    """
    index = (confidence.double() * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, index, correct.double() - confidence.double())
    return gap.abs().sum().item() / len(confidence)


def confidences(bench: Bench, branch: Branch, n: int) -> Tensor:
    """(n,) probability of the predicted class on the unattacked images, on the CPU."""
    view = bench.view(branch_setting(branch))
    with torch.no_grad():
        return torch.cat([view(images).softmax(1).amax(1).cpu() for _, (images, _) in bench.batches(n)])


def headline(
    bench: Bench, design: NormDesign, eps: float, n: int, progress: Progress | None = None
) -> tuple[tuple[EvalRecord, ...], tuple[Breakdown, ...]]:
    """Two records and two breakdowns a branch; where the design has but one network it is measured once."""
    attacks: list[PGD | None] = [None, pgd(STEPS, eps)]
    labels = torch.from_numpy(bench.test.labels[:n])
    classes = len(bench.test.classes)
    records: list[EvalRecord] = []
    breakdowns: list[Breakdown] = []
    for branch in Branch:
        setting = branch_setting(branch)
        if branch == Branch.ADV and design.share_statistics and design.share_parameters:
            records += [
                replace(r, setting=setting, attack_setting=None if r.attack is None else setting) for r in records
            ]
            breakdowns += [replace(b, setting=setting) for b in breakdowns]
            break
        ece = None
        for attack, correct in zip(attacks, bench.correct(Trial(setting, n, SEED), attacks, progress), strict=True):
            if attack is None:
                ece = calibration_error(confidences(bench, branch, n), correct)
            crafted = None if attack is None else setting
            records.append(EvalRecord(setting, attack, crafted, n, int(correct.sum()), SEED))
            of_class, right = (
                tuple(torch.bincount(labels[kept], minlength=classes).tolist()) for kept in (labels >= 0, correct)
            )
            breakdowns.append(Breakdown(setting, attack, of_class, right, ece if attack is None else None))
    return tuple(records), tuple(breakdowns)


def auto_record(
    bench: Bench, path: Path, head: dict[str, Any], eps: float, progress: Progress | None = None
) -> EvalRecord:
    """AutoAttack's standard version on the adversarial branch, on all of the bench's images.

    Each chunk is written to `path` once it is counted, a file like a sweep's: run again after a kill, it goes on from
    there to the same record. InputError where `path` is of another network, other images or another attack.
    """
    setting, attack, total = branch_setting(Branch.ADV), AutoAttack(ThreatModel("Linf", eps)), len(bench.test)
    head = head | {"attack": attack.label, "chunk": chunk_size(bench.device)}
    parts = begun(path, head)
    for start in range(sum(part.n for part in parts), total, head["chunk"]):
        n = min(head["chunk"], total - start)
        [correct] = bench.correct(Trial(setting, n, head["seed"], first=start), [attack])
        parts.append(EvalRecord(setting, attack, setting, n, int(correct.sum()), head["seed"]))
        append(path, parts[-1])
        if progress is not None:
            progress(start + n, total)
    return replace(parts[0], n=total, n_correct=sum(part.n_correct for part in parts))
