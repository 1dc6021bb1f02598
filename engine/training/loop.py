"""The training loop: hybrid, Madry and standard training of every design, seeded step by step and resumable.

Usage::

    for row in train(model, config, data, state_path): print(row)     # model is trained in place; resumes by itself

Every random choice is drawn from a generator seeded by (seed, step), so a run that was killed and resumed gives the
same weights as one that was not.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.attacks import OBJECTIVES, PGD
from engine.data.base import ImageSet
from engine.norm import Folder, branch_view, dual_layers, joint_view
from engine.training.config import TrainConfig
from engine.training.parallel import here
from engine.training.state import gather, load_state, restore, save_state
from engine.values import Branch, InputError, ThreatModel, branch_setting

SAVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class EpochLog:
    """Means over one epoch of training batches (accuracies are fractions, adversarial under the training attack)."""

    epoch: int
    loss: float
    clean_accuracy: float
    robust_accuracy: float
    eps: float
    lr: float
    seconds: float


def generator_for(seed: int, kind: int, index: int) -> torch.Generator:
    """An independent CPU generator for (seed, kind, index)."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + kind) * 10_000_019 + index) % 2**63)


def learning_rate(config: TrainConfig, step: int) -> float:
    """One-cycle: linear up over the first fifth, linear down to 0; cosine: from the peak down to 0."""
    done = (step + 1) / config.total_steps
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * done))
    return config.lr * (done / 0.2 if done < 0.2 else max(0.0, (1 - done) / 0.8))


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random crop after padding by 4 and random flip, per image; (n, 3, 32, 32) in and out."""
    n, side = len(images), images.shape[-1]
    flip = torch.rand(n, generator=generator) < 0.5
    images = torch.where(flip.view(-1, 1, 1, 1).to(images.device), images.flip(3), images)
    windows = F.pad(images, (4, 4, 4, 4)).unfold(2, side, 1).unfold(3, side, 1)
    row, column = torch.randint(0, 9, (2, n), generator=generator).to(images.device)
    return windows[torch.arange(n, device=images.device), :, row, column]


def freeze_all_but_affine(model: nn.Module) -> None:
    """Leaves gradients to the AP alone; NS that both branches share are used as they are and no longer follow."""
    model.requires_grad_(False)
    for _, layer in dual_layers(model):
        layer.train(not layer.design.share_statistics)
        for parameter in (*layer.weight, *layer.bias):
            parameter.requires_grad_(True)


class Halves(nn.Module):
    """Both branches' training views as one module: a step is one call, as DistributedDataParallel wants it."""

    def __init__(self, model: nn.Module, batch: str) -> None:
        super().__init__()
        self.clean, self.adv = branch_view(model, Branch.CLEAN), branch_view(model, Branch.ADV)
        self.joint = None if batch == "separate" else joint_view(model, crossed=batch == "crossed")

    def forward(self, images: Tensor | None, adversarial: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """(clean, adversarial) logits, each (b, k); None for a half that is not given."""
        if self.joint is not None and images is not None and adversarial is not None:
            clean, adv = self.joint(torch.cat([images, adversarial])).chunk(2)
            return clean, adv
        return (
            None if images is None else self.clean(images),
            None if adversarial is None else self.adv(adversarial),
        )


class Run:
    """One run's model, views and optimizer; `step` makes one update."""

    def __init__(self, model: nn.Module, config: TrainConfig, data: ImageSet) -> None:
        self.config, self.data, self.world = config, data, here()
        self.part = self.world.own(config.batch_size)
        self.device = next(model.parameters()).device
        self.model = model.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if config.only == "affine":
            freeze_all_but_affine(model)
        self.averaged = copy.deepcopy(self.model) if config.ema else None
        self.optimizer = torch.optim.SGD(
            model.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay, nesterov=True
        )
        self.folder = Folder(model)
        self.world.sync(model)
        self.halves = self.world.together(Halves(model, config.batch), partly=bool(config.only))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (b, 3, h, w) in [0, 1], augmented, and labels (b,): this process's part of one step's batch."""
        epoch, index = divmod(step, self.config.steps_per_epoch)
        order = torch.randperm(self.config.n_train, generator=generator_for(self.config.seed, 0, epoch)).numpy()
        chosen = order[index * self.config.batch_size : (index + 1) * self.config.batch_size]
        images = torch.from_numpy(self.data.images[chosen]).to(self.device, torch.float32) / 255
        if self.config.augment == "crop-flip":
            images = augmented(images, generator_for(self.config.seed, 1, step))
        labels = torch.from_numpy(self.data.labels[chosen]).to(self.device)
        return images[self.part].contiguous(memory_format=torch.channels_last), labels[self.part]

    def adversarial(self, images: Tensor, labels: Tensor, step: int) -> Tensor:
        """Crafted in eval mode through the adversarial branch (arXiv 2403.19150's protocol); running NS untouched."""
        eps = self.config.eps_at(step)
        if eps == 0:
            return images
        loss = "kl" if self.config.loss == "trades" else "ce"
        attack = PGD(ThreatModel("Linf", eps), self.config.attack_steps, self.config.step_ratio * eps, loss=loss)
        target = self.folder.at(branch_setting(Branch.ADV))
        generator = self.world.skip(generator_for(self.config.seed, 2, step), images)
        return attack(target, images, labels, generator=generator)

    def logits(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor | None, Tensor | None]:
        """(clean, adversarial) logits in train mode; None where alpha gives that half no weight."""
        alpha, adversarial = self.config.alpha, None
        if alpha != 1:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                adversarial = self.adversarial(images, labels, step)
        return self.halves(None if alpha == 0 else images, adversarial)

    def loss(self, clean: Tensor | None, adv: Tensor | None, labels: Tensor) -> Tensor:
        """The scalar that is minimised, from the logits (b, k) of both halves."""
        if self.config.loss == "trades":
            assert clean is not None
            assert adv is not None
            divergence = OBJECTIVES["kl"](adv.float(), labels, clean.float()).mean()
            return F.cross_entropy(clean.float(), labels) + self.config.beta * divergence
        weights = ((clean, self.config.alpha), (adv, 1 - self.config.alpha))
        halves = [weight * F.cross_entropy(logits.float(), labels) for logits, weight in weights if logits is not None]
        return torch.stack(halves).sum()

    def step(self, step: int) -> tuple[float, float, float]:
        """One update; (loss, clean accuracy, robust accuracy) of the batch. InputError where the loss is not finite."""
        images, labels = self.batch(step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            clean, adv = self.logits(images, labels, step)
        loss = self.loss(clean, adv, labels)
        rates = [math.nan if x is None else (x.argmax(1) == labels).float().mean().item() for x in (clean, adv)]
        value, *rates = self.world.mean(loss.item(), *rates)
        if not math.isfinite(value):
            raise InputError(f"The loss is not finite at step {step}; lower lr. The last saved state is kept.")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.averaged is not None:
            self._average(self.averaged, step)
        return value, rates[0], rates[1]

    def _average(self, averaged: nn.Module, step: int) -> None:
        """Exponential moving average of weights and statistics, warmed up so that the start is forgotten."""
        keep = min(self.config.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            for mine, theirs in zip(averaged.state_dict().values(), self.model.state_dict().values(), strict=True):
                if mine.is_floating_point():
                    mine.lerp_(theirs, 1 - keep)

    @property
    def result(self) -> nn.Module:
        return self.model if self.averaged is None else self.averaged


def train(
    model: nn.Module,
    config: TrainConfig,
    data: ImageSet,
    state_path: Path | None,
    progress: Callable[[int, int], None] | None = None,
    should_save: Callable[[float], bool] = lambda seconds: seconds > SAVE_SECONDS,
) -> Iterator[EpochLog]:
    """Trains `model` (a dual network, in place) and yields a row an epoch; goes on from `state_path` if it exists.

    With EMA the averaged weights are copied into `model` at the end. `should_save(seconds since the last save)` decides
    after each step whether the state is written; it always is after an epoch.
    """
    if len(data) < config.n_train:
        raise InputError(f"{config.name} trains on {config.n_train} images, {data.name} {data.split} has {len(data)}.")
    run, first, rows = Run(model, config, data), 0, list[list[float]]()
    if state_path is not None and state_path.exists():
        first, tensors, rows = load_state(state_path, config.as_json())
        restore(tensors, run.model, run.averaged, run.optimizer)
    if run.world.mean(first) != (first,):
        raise InputError(
            f"Not all processes see {state_path}; keep the checkpoints in a folder that all of them share."
        )
    done = [row for row in rows if row[0] >= 0]
    yield from (EpochLog(int(epoch), *rest) for epoch, *rest in done)
    sums = rows[-1][1:] if rows and rows[-1][0] < 0 else [0.0] * 4
    saved = started = time.monotonic()
    for step in range(first, config.total_steps):
        values = run.step(step)
        sums = [a + b for a, b in zip(sums, (*values, time.monotonic() - started), strict=True)]
        started = time.monotonic()
        if progress is not None:
            progress(step + 1, config.total_steps)
        epoch, index = divmod(step + 1, config.steps_per_epoch)
        row: EpochLog | None = None
        if index == 0:
            means = [value / config.steps_per_epoch for value in sums[:3]]
            ended = (config.eps_at(step), learning_rate(config, step), round(sums[3], 2))
            row = EpochLog(epoch, means[0], means[1], means[2], *ended)
            done.append([float(value) for value in astuple(row)])
            sums = [0.0] * 4
        if state_path is not None and run.world.first and (row is not None or should_save(time.monotonic() - saved)):
            pending = done if row is not None else [*done, [-1.0, *sums]]
            save_state(state_path, config.as_json(), step + 1, gather(run.model, run.averaged, run.optimizer), pending)
            saved = time.monotonic()
        if row is not None:  # only once the state holds it
            yield row
    if run.averaged is not None:
        model.load_state_dict(run.averaged.state_dict())
