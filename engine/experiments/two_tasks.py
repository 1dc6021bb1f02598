"""E8: robustness and clean accuracy as two tasks: parameters for each, or a loss that couples them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from engine.data.base import Progress
from engine.evaluation import Bench, calibration_attack, crafting_network, seeded
from engine.experiments.accuracies import ONE_SEED, UNPAIRED, accuracies, robust
from engine.experiments.base import Chart, Experiment, Outcome, Steps, Table, Verdict, table
from engine.experiments.family import Family
from engine.experiments.intervals import Estimate, above, difference, resamples, spread, together
from engine.values import Branch, branch_setting

WAYS = ("dual-linear", "trades", "dual-bn", "dual-ap")
HYBRID = ("single", "dual-bn", "dual-ap", "dual-linear", "trades", "cross-ns")
N_GRADIENT, BATCH = 256, 16


def loss_gradients(view: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy with respect to every convolution's weight, flat, on the CPU."""
    names = [f"{name}.weight" for name, module in view.named_modules() if isinstance(module, nn.Conv2d)]
    held = dict(view.named_parameters())
    weights = {name: held[name].detach().clone().requires_grad_() for name in names}
    loss = F.cross_entropy(functional_call(view, weights, (images,)), labels)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    return {name: g.flatten().double().cpu() for name, g in zip(names, gradients, strict=True)}


def cosines(bench: Bench, eps: float, n: int, seed: int) -> dict[str, Estimate]:
    """Cosine between the gradients of the clean and of the attacked loss, layer by layer, over all n images.

    Each half passes through its own branch, in eval mode; the interval resamples batches of 16 images.
    """
    views = {branch: bench.view(branch_setting(branch)) for branch in Branch}
    craft, attack = crafting_network(views[Branch.ADV]), calibration_attack(eps)
    kept: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for start in range(0, n - n % BATCH, BATCH):
        images, labels = (tensor.to(bench.device) for tensor in bench.test.tensors(start, start + BATCH))
        adversarial = attack(craft, images, labels, generator=seeded(seed, start))
        clean = loss_gradients(views[Branch.CLEAN], images, labels)
        adv = loss_gradients(views[Branch.ADV], adversarial, labels)
        for name, gradient in clean.items():
            kept.setdefault(name, []).append((gradient, adv[name]))
    found: dict[str, Estimate] = {}
    for name, pairs in kept.items():
        both = torch.stack([torch.stack(side) for side in zip(*pairs, strict=True)]).flatten(0, 1)
        counts, batches = resamples(len(pairs), seed), len(pairs)
        gram = both @ both.T
        cc, ca, aa = gram[:batches, :batches], gram[:batches, batches:], gram[batches:, batches:]
        cross, first, second = (((counts @ block) * counts).sum(1) for block in (ca, cc, aa))
        found[name.removesuffix(".weight")] = spread(cross / (first * second).sqrt().clamp_min(1e-30))
    return found


def _gradients(family: Family, n: int, seed: int, progress: Progress | None) -> tuple[Table, Chart, str]:
    n, here = min(n, N_GRADIENT), [role for role in HYBRID if role in family.members]
    steps, rows, mean = Steps(len(here), progress), list[tuple[str, str, float, float, float]](), dict[str, float]()
    for role in here:
        found = cosines(family.bench(role, n), family.eps(role), n, seed)
        rows += [(role, layer, *estimate.cells) for layer, estimate in found.items()]
        mean[role] = sum(e.value for e in found.values()) / len(found)
        steps.done()
    caption = f"Cosine between the gradients of the clean and the attacked loss in each convolution, {n} images."
    chart = Chart(
        *("gradients", "lines", "layer", "value", "", "cosine of the two gradients"),
        "Below 0 the two tasks pull a layer's weights in opposite directions.",
        *("low", "high", "network"),
    )
    said = ", ".join(f"{role} {value:+.2f}" for role, value in mean.items())
    return table("gradients", caption, ("network", "layer", "value", "low", "high"), rows), chart, said


def compute(family: Family, n: int, seed: int, progress: Progress | None) -> Outcome:
    roles = ("standard", "madry", *HYBRID)
    shown, _ = accuracies(family, roles, n, seed, progress)
    points: list[tuple[str, str, *tuple[float, ...]]] = []
    by_kind = {(row[0], row[1], row[2]): row[3:6] for row in shown.rows}
    for network, branch, kind in by_kind:
        if kind == "clean":
            both = (*by_kind[network, branch, "clean"], *by_kind[network, branch, "robust"])
            points.append((network, branch, *both))  # pyright: ignore[reportArgumentType]
    gaps = {
        way: difference(robust(family, way, n, seed), robust(family, "single", n, seed))
        for way in WAYS
        if way in family.members and "single" in family.members
    }
    gradients, gradient_chart, said = _gradients(family, n, seed, progress)
    absent = family.missing("single", "dual-linear", "trades")
    verdicts: list[Verdict] = [] if absent else [above(gap, 0) for gap in gaps.values()]
    changes = "; ".join(f"{way} {gap.points}" for way, gap in gaps.items())
    sentence = f"Robust accuracy against one set of parameters and no coupling: {changes}. " if gaps else ""
    sentence += f"Mean gradient cosine over layers: {said}."
    columns = ("network", "branch", "clean", "clean low", "clean high", "robust", "robust low", "robust high")
    rows = [(way, *gap.cells) for way, gap in gaps.items()]
    return Outcome(
        together(verdicts),
        f"{absent} {sentence}".strip(),
        "PGD-20 at the eps trained against, white-box; gradients: PGD-10",
        (ONE_SEED, UNPAIRED, "Gradients are taken at the trained weights, where both losses are small, in eval mode."),
        (),
        (
            table("scatter", "Clean against robust accuracy, each network and branch.", columns, points),
            table("differences", "Robust accuracy minus that of single BN.", ("network", "value", "low", "high"), rows),
            gradients,
            shown,
        ),
        (
            Chart(
                *("scatter", "points", "clean", "robust", "clean accuracy", "robust accuracy"),
                "Ways of serving two tasks, in one picture.",
                *("robust low", "robust high", "network"),
                percent=True,
            ),
            gradient_chart,
        ),
        "/models",
    )


EXPERIMENT = Experiment(
    "E8",
    "Two tasks",
    "What helps hybrid training is anything that serves two tasks: parameters of their own (dual BN, dual AP, dual "
    "linear) or a loss that couples them (TRADES) give more robust accuracy than one network with neither.",
    compute,
    needs=(),
    uses=tuple(dict.fromkeys(("standard", "madry", *HYBRID))),
)
