"""Accuracies: clean, white-box robust and transfer, each with n, interval, attack and seed.

Usage::

    bench = Bench(model, test_set, calibration_set)
    record = bench.evaluate(setting, attack, n=1000, seed=0)        # white-box: attacks the setting that is judged
    record = bench.evaluate(setting, attack, n=1000, seed=0, attack_setting=other)        # transfer
    both = tuple(branch_setting(branch) for branch in Branch)
    record = bench.evaluate(setting, attack, n=1000, seed=0, attack_setting=both)         # adaptive: both at once
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from engine.attacks import APGD, PGD, Attack, AutoAttack, LogitsFn
from engine.attacks.half import half_first
from engine.beat import Beat, each, heard
from engine.cards import Crafting, EvalRecord
from engine.data.base import ImageSet, Progress
from engine.memory import Room, in_pieces
from engine.norm import at, channels_last, fold, half
from engine.norm.reestimate import reestimate
from engine.values import InputError, NormSetting, Reestimated, Stored, ThreatModel

CPU_CHUNK, GPU_CHUNK, CALIBRATION_BATCH = 64, 1024, 128


def pick_device(name: str) -> torch.device:
    """auto: CUDA, else Apple's MPS, else the CPU. InputError where a named device is not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise InputError(f"The device {name!r} is not available here; use --device cpu.") from None
    return device


def chunk_size(device: torch.device) -> int:
    """Images a batch: on a CPU larger batches fall out of the cache (2 to 3 times slower at 512)."""
    return CPU_CHUNK if device.type == "cpu" else GPU_CHUNK


def crafting_network(view: nn.Module, *more: nn.Module) -> LogitsFn:
    """The folded, channels-last twin of a view: same logits up to rounding, for gradients only.

    Of several views it is one network that answers with the log of their mean softmax (the ensemble of Liu et al.
    2017, arXiv 1611.02770), so that every attack can go for all of them at once. Its cross-entropy,
    -log mean_i p_i(label), is large only where every view gives the label little, and weighs each view by
    p_i(label): the views that are not fooled yet. In a mean of logits or of losses one view that is fooled by far would
    make up for all that are not. With one view, any loss has the same value as with the view's own logits, which differ
    by a constant.
    """
    folded = [fold(each) for each in (view, *more)]
    if not more:
        return lambda images: folded[0](channels_last(images))

    def together(images: Tensor) -> Tensor:
        images = channels_last(images)
        answers = torch.stack([network(images).float().log_softmax(1) for network in folded])
        return answers.logsumexp(0) - math.log(len(folded))

    return together


def calibration_attack(eps: float) -> PGD:
    """What adversarial calibration images are crafted with."""
    return PGD(ThreatModel("Linf", eps), steps=10, step_size=eps / 4)


def seeded(seed: int, start: int) -> torch.Generator:
    """Generator of the chunk that starts at image `start`; on the CPU, so that every device draws the same numbers."""
    return torch.Generator().manual_seed((seed * 1_000_003 + start) % 2**63)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is counted: `setting` on n images from `first`, attacked from `seed` at `attack_setting` (None: at itself).

    Trials that begin at multiples of the chunk size add up to the one trial of all their images.
    half: gradients in bfloat16, see `engine.attacks.half`; no record says so, hence no stored figure may use it.
    """

    setting: NormSetting
    n: int
    seed: int
    attack_setting: Crafting | None = None
    half: bool = False
    first: int = 0

    def __post_init__(self) -> None:
        if self.attack_setting == ():
            raise InputError("An attack needs at least one setting to be crafted at.")
        if self.half and self.attack_setting not in (None, self.setting):
            raise InputError("Gradients in bfloat16 are for white-box attacks only.")

    @property
    def crafted_at(self) -> Crafting:
        match self.attack_setting:
            case None | ():
                return self.setting
            case (single,):
                return single
            case several:
                return several


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A network, the images it is judged on, and the images its NS may be re-estimated on (None: it may not)."""

    model: nn.Module
    test: ImageSet
    calibration: ImageSet | None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def view(self, setting: NormSetting, beat: Beat | None = None) -> nn.Module:
        """The plain network at `setting`, with NS re-estimated where the setting says so."""
        if isinstance(setting.statistics, Stored):
            return at(self.model, setting)
        batches = list(self._calibration_batches(setting, setting.statistics, beat))
        return at(self.model, setting, reestimate(self.model, setting, each(batches, beat)))

    def _calibration_batches(self, setting: NormSetting, wanted: Reestimated, beat: Beat | None) -> Iterator[Tensor]:
        """Batches (<= 128, 3, h, w) of the source that `wanted` names."""
        if self.calibration is None:
            raise InputError("Re-estimating NS needs calibration images, and none are here; use stored NS.")
        if wanted.n > len(self.calibration):
            raise InputError(f"Only {len(self.calibration)} calibration images are here, {wanted.n} were asked for.")
        generator = torch.Generator().manual_seed(wanted.seed % 2**63)
        order = torch.randperm(len(self.calibration), generator=generator)[: wanted.n].numpy()
        craft: LogitsFn | None = None
        if wanted.source in ("adv", "mix"):
            clean = replace(setting, statistics=replace(wanted, source="clean"))
            craft = heard(crafting_network(self.view(clean, beat)), beat)
        for index in range(0, wanted.n - 1, CALIBRATION_BATCH):
            chosen = order[index : index + CALIBRATION_BATCH]
            images = torch.from_numpy(self.calibration.images[chosen]).to(self.device, torch.float32) / 255
            labels = torch.from_numpy(self.calibration.labels[chosen]).to(self.device)
            if wanted.source == "noise":
                noise = torch.rand(images.shape, generator=generator).to(self.device) * 2 - 1
                images = (images + wanted.eps * noise).clamp(0, 1)
            if craft is not None:
                kept = images[: len(images) // 2] if wanted.source == "mix" else images[:0]
                rest, rest_labels = images[len(kept) :], labels[len(kept) :]
                crafted = calibration_attack(wanted.eps)(craft, rest, rest_labels, generator=generator)
                images = torch.cat([kept, crafted])
            yield images

    def evaluate(
        self,
        setting: NormSetting,
        attack: Attack | None,
        n: int,
        seed: int,
        attack_setting: Crafting | None = None,
        progress: Progress | None = None,
    ) -> EvalRecord:
        """Accuracy on the first n test images; with an attack, the share correct both clean and attacked.

        `attack_setting` None attacks the very setting that is judged (white-box), several attack all of them at once,
        see `crafting_network`. Only images that are correct clean are attacked, and of those none that are of an
        attack's target class already. Gradients come from the folded network, verdicts from the unfolded one in
        float32.
        """
        return next(self.evaluate_many(setting, [attack], n, seed, attack_setting, progress))

    def evaluate_many(
        self,
        setting: NormSetting,
        attacks: Sequence[Attack | None],
        n: int,
        seed: int,
        attack_setting: Crafting | None = None,
        progress: Progress | None = None,
    ) -> Iterator[EvalRecord]:
        """One record an attack, sharing the views; see `evaluate`."""
        trial = Trial(setting, n, seed, attack_setting)
        for attack, kept in zip(attacks, self.correct(trial, attacks, progress), strict=True):
            crafted = None if attack is None else trial.crafted_at
            yield EvalRecord(setting, attack, crafted, n, int(kept.sum()), seed)

    def correct(
        self, trial: Trial, attacks: Sequence[Attack | None], progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """For each attack, which of the trial's n images are right, bool (n,): what `evaluate` counts."""
        labels = torch.from_numpy(self.test.labels[trial.first : trial.first + trial.n])
        for classes in self.predicted(trial, attacks, progress):
            yield classes == labels

    def predicted(
        self, trial: Trial, attacks: Sequence[Attack | None], progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """For each attack, the class (n,) that the network gives each of the trial's n images; on the CPU.

        An image that is wrong clean is not attacked and keeps its wrong class. Where memory runs out, fewer images at a
        time pass through the network, see `engine.memory`. `progress` hears of n images how many are done, before
        every pass of an attack too, so that what it raises ends the work within a step.
        """
        n, first, done = trial.n, trial.first, 0

        def beat() -> None:
            if progress is not None:
                progress(done, n)

        if not 1 <= n <= len(self.test) - first:
            raise InputError(f"{self.test.name} has {len(self.test)} {self.test.split} images, {n} were asked for.")
        judge = self.view(trial.setting, beat)
        craft = self._crafting_network(trial, judge, beat)
        rough = half(fold(judge)) if trial.half else None
        room = Room()
        clean = torch.cat([_judged_in(room, heard(judge, beat), images) for _, (images, _) in self.batches(n, first)])
        for attack in attacks:
            classes = clean.clone()
            for start, (images, labels) in self.batches(n, first) if attack is not None else ():
                where = (clean[done : done + len(labels)] == labels.cpu()).nonzero()[:, 0].to(images.device)
                if attack is not None and len(where):
                    here = _for_images(attack, n, (done + where).tolist())
                    chosen = (images[where], labels[where])
                    adversarial = _attacked(room, here, (rough, craft), chosen, (trial.seed, start), beat)
                    classes[done + where.cpu()] = _judged_in(room, judge, adversarial)
                done += len(labels)
                beat()
            done = 0
            yield classes

    def _crafting_network(self, trial: Trial, judge: nn.Module, beat: Beat) -> LogitsFn:
        crafted_at = trial.crafted_at
        several = crafted_at if isinstance(crafted_at, tuple) else (crafted_at,)
        return crafting_network(*(judge if one == trial.setting else self.view(one, beat) for one in several))

    def batches(self, n: int, first: int = 0) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
        """(start, (images, labels)) of n images from `first` on the network's device, in chunks that suit it."""
        size = chunk_size(self.device)
        for start in range(first, first + n, size):
            images, labels = self.test.tensors(start, min(first + n, start + size))
            yield start, (images.to(self.device), labels.to(self.device))


def predicted(judge: LogitsFn, images: Tensor) -> Tensor:
    """The class (n,) that the network gives each image; on the CPU."""
    with torch.no_grad():
        return judge(images).argmax(1).cpu()


def judged(judge: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Which images (n,) the network classifies correctly; bool, on the CPU."""
    return predicted(judge, images) == labels.cpu()


def _for_images(attack: Attack, n: int, index: list[int]) -> Attack:
    """The attack on the images `index` alone, of n that it may name a target class each for."""
    if not (isinstance(attack, PGD | APGD) and isinstance(attack.target, tuple)):
        return attack
    if len(attack.target) != n:
        raise InputError(f"Each image needs one target class: got {len(attack.target)} for {n} images.")
    return replace(attack, target=tuple(attack.target[i] for i in index))


def _judged_in(room: Room, judge: LogitsFn, images: Tensor) -> Tensor:
    return room.fit(len(images), lambda limit: predicted(in_pieces(judge, limit), images))


def _attacked(
    room: Room,
    attack: Attack,
    networks: tuple[LogitsFn | None, LogitsFn],
    chosen: tuple[Tensor, Tensor],
    seeds: tuple[int, int],
    beat: Beat,
) -> Tensor:
    """networks: rough, if wanted, and the one that crafts; chosen: images, labels; seeds: what `seeded` takes."""
    rough, craft = networks
    images, labels = chosen

    def crafted(limit: int | None) -> Tensor:
        exact, generator = heard(in_pieces(craft, limit), beat), seeded(*seeds)
        if rough is None:
            return attack(exact, images, labels, generator=generator)
        if not isinstance(attack, PGD | AutoAttack):
            raise InputError(f"Gradients in bfloat16 are for PGD, FGSM and AutoAttack, not for {attack.label}.")
        return half_first(attack, heard(in_pieces(rough, limit), beat), exact, images, labels, generator=generator)

    return room.fit(len(images), crafted)
