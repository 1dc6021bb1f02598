"""A family: the checkpoints of one data set and architecture, by the role their recipe gives them.

Usage::

    family = families(cards, open_member, root)["shapes"]
    record = family.record("dual-bn", branch_setting(Branch.ADV), pgd(20, 8 / 255), n=2000)
    bench = family.bench("dual-bn", 2000)

Accuracies are taken from cards and sweeps where those rest on the very images, and computed where not; verdicts on each
image are kept while the family lives, so that experiments run one after another do not attack twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from engine.attacks import Attack
from engine.cards import EvalRecord, ModelCard
from engine.data import DATASETS
from engine.data.base import ImageSet, Progress, checksum
from engine.evaluation import Bench, Trial
from engine.sources import Sample, Source, take_sample
from engine.sweep import MAIN_EPS, canonical, load_sweep, sweep_header
from engine.values import Branch, InputError, NormSetting, branch_setting, eps_label

Opener = Callable[[str, int], Bench]
"""(checkpoint's name, n) -> the network on its first n held-out images."""
EPS_16 = "@16/255"
LONG = "-long"
"""How a checkpoint's name ends that was trained for longer than its family: a family of its own, since claims compare
networks of one budget."""
_ALONE = {("shapes", "resnet14-s2"): "shapes"}


def role_of(card: ModelCard) -> str:
    """What a checkpoint is in its family, from its recipe: 'dual-bn', 'madry', 'trades', 'dual-ap@16/255' ...

    A seed other than 0 is a replicate: 'dual-bn#1'.
    """
    config = card.config
    alpha = config.get("alpha", 0.5)
    kinds = [
        (config.get("loss") == "trades", "trades"),
        (config.get("batch") == "crossed", "cross-ns"),
        (alpha == 0, "madry"),
        (alpha == 1, "standard"),
    ]
    if config.get("only"):
        tuned = "ap-tuned" if card.norm_design.share_statistics else "ap-ns-tuned"
        kinds.insert(0, (True, tuned if alpha == 1 else f"adv-{tuned}" if alpha == 0 else f"hybrid-{tuned}"))
    role = next((name for yes, name in kinds if yes), card.design)
    eps = "" if abs(config["eps"] - MAIN_EPS) < 1e-9 or role == "standard" else f"@{eps_label(config['eps'])}"
    return role + eps + (f"#{config['seed']}" if config.get("seed") else "")


def family_of(card: ModelCard) -> str:
    """'shapes', 'cifar10-resnet20', and 'cifar10-resnet20-long' for what was trained for longer."""
    data = str(card.data["name"])
    name = _ALONE.get((data, card.architecture), f"{data}-{card.architecture}")
    return name + LONG if card.name.endswith(LONG) else name


@dataclass(slots=True, eq=False)
class Family:
    """members: role -> card. Opens networks when they are first asked for and keeps them.

    looked: how many images the accuracies rest on that came from cards and sweeps.
    """

    name: str
    members: dict[str, ModelCard]
    open_member: Opener
    root: Path
    looked: set[int] = field(default_factory=set[int])
    _benches: dict[str, Bench] = field(default_factory=dict[str, Bench])
    _correct: dict[tuple[object, ...], Tensor] = field(default_factory=dict[tuple[object, ...], Tensor])
    _samples: dict[tuple[object, ...], Sample] = field(default_factory=dict[tuple[object, ...], Sample])
    _records: dict[str, list[EvalRecord]] = field(default_factory=dict[str, list[EvalRecord]])

    def missing(self, *roles: str) -> str:
        """A sentence that names the roles no member has, or ''."""
        absent = [role for role in roles if role not in self.members]
        return f"The family {self.name} has no {' and no '.join(absent)} network here yet." if absent else ""

    def bench(self, role: str, n: int) -> Bench:
        """The member on at least its first n held-out images."""
        if role not in self.members:
            raise InputError(self.missing(role))
        if role not in self._benches or len(self._benches[role].test) < n:
            self._benches[role] = self.open_member(self.members[role].name, n)
        return self._benches[role]

    def images(self, n: int) -> ImageSet:
        """The first n held-out images, the same for all members; InputError where no member can be opened on them."""
        problem = InputError(f"The family {self.name} has no members.")
        for role in self.members:
            try:
                whole = self.bench(role, n).test
                break
            except InputError as error:
                problem = error
        else:
            raise problem
        images, labels = whole.images[:n], whole.labels[:n]
        return replace(whole, images=images, labels=labels, checksum=checksum(images, labels))

    def eps(self, role: str) -> float:
        """What the member was trained against; the family's common eps for one that was trained on clean images."""
        return float(self.members[role].config["eps"])

    def correct(
        self,
        role: str,
        setting: NormSetting,
        attacks: Sequence[Attack | None],
        n: int,
        seed: int,
        progress: Progress | None = None,
    ) -> list[Tensor]:
        """For each attack, which of the first n images are right, bool (n,), white-box; kept for later experiments."""
        setting = canonical(setting, self.members[role].norm_design)
        new = [attack for attack in attacks if (role, setting, attack, n, seed) not in self._correct]
        if new:
            found = self.bench(role, n).correct(Trial(setting, n, seed), new, progress)
            for attack, right in zip(new, found, strict=True):
                self._correct[role, setting, attack, n, seed] = right
        return [self._correct[role, setting, attack, n, seed] for attack in attacks]

    def record(
        self,
        role: str,
        setting: NormSetting,
        attack: Attack | None,
        n: int,
        seed: int,
        progress: Progress | None = None,
    ) -> EvalRecord:
        """An accuracy on at least n images: from the card or the sweep where one fits, else computed on n."""
        wanted = canonical(setting, self.members[role].norm_design)
        for known in self._known(role):
            if known.n >= n and (known.setting, known.attack, known.seed) == (wanted, attack, seed):
                self.looked.add(known.n)
                return known
        (kept,) = self.correct(role, wanted, [attack], n, seed, progress)
        return EvalRecord(wanted, attack, None if attack is None else wanted, n, int(kept.sum()), seed)

    def sample(
        self,
        role: str,
        setting: NormSetting,
        sources: tuple[Source, ...],
        n: int,
        seed: int,
        progress: Progress | None = None,
    ) -> Sample:
        """Feature statistics and accuracy of the sources at a setting; kept for the next experiment."""
        key = (role, setting, sources, n, seed)
        if key not in self._samples:
            needed = 2 * n if any(source.second for source in sources) else n
            self._samples[key] = take_sample(self.bench(role, needed), setting, sources, n, seed, progress)
        return self._samples[key]

    def _known(self, role: str) -> list[EvalRecord]:
        """White-box records of the card and the sweep that rest on these weights and images, most images first."""
        if role not in self._records:
            card, path = self.members[role], self.root / self.members[role].name / "sweep.jsonl"
            found: list[EvalRecord] = []
            if card.records and self._same_images(card.evaluation.get("sha256"), card.records[0].n):
                found += card.records
            try:
                head = sweep_header(path)
                swept = load_sweep(path, {"weights_sha256": card.weights_sha256})
                found += swept if self._same_images(head.get("data_sha256"), int(head["n"])) else []
            except (InputError, KeyError):  # none yet, or not of these weights: computed instead
                pass
            design = card.norm_design
            own = [r for r in found if r.attack is None or r.white_box]
            own = [EvalRecord(canonical(r.setting, design), r.attack, None, r.n, r.n_correct, r.seed) for r in own]
            self._records[role] = sorted(own, key=lambda r: -r.n)
        return self._records[role]

    def _same_images(self, sha256: object, n: int) -> bool:
        try:
            return self.images(n).checksum == sha256
        except InputError:  # fewer images are here
            return False


def branches(card: ModelCard) -> tuple[tuple[str, NormSetting], ...]:
    """(name, setting) of the trained branches; one where both are the same network."""
    design = card.norm_design
    if design.share_statistics and design.share_parameters:
        return (("only", branch_setting(Branch.ADV)),)
    return (("clean", branch_setting(Branch.CLEAN)), ("adversarial", branch_setting(Branch.ADV)))


def families(cards: Iterable[ModelCard], open_member: Opener, root: Path) -> dict[str, Family]:
    """Families by name; of two checkpoints in the same role the first by name is taken.

    Left out: converted networks and what goes on from them, whose training no role can name, and images of one's own.
    """
    found: dict[str, Family] = {}
    cards = sorted(cards, key=lambda card: card.name)
    foreign = {card.name for card in cards if "converted" in card.config}
    for card in cards:
        if card.data["name"] not in DATASETS or {card.name, card.config.get("warm_start")} & foreign:
            continue
        family = found.setdefault(family_of(card), Family(family_of(card), {}, open_member, root))
        family.members.setdefault(role_of(card), card)
    return dict(sorted(found.items(), key=lambda item: (item[0] != "shapes", item[0])))
