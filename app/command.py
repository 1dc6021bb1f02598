"""The command that makes a shown accuracy, or the curves of a sweep, again.

Usage::

    sweep_command("shapes-dual-bn", records, tracks)
    # python -m engine sweep shapes-dual-bn --n 1000 --n-plane 500 --n-gaps 256
    evaluate_command("shapes-dual-bn", record)
    # python -m engine evaluate shapes-dual-bn --n 200 --ap 1 --ns stored:1 --attack pgd --eps 8/255 --steps 20
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from engine import api


def sweep_command(checkpoint: str, records: Sequence[api.EvalRecord], tracks: Mapping[str, api.Track]) -> str:
    """`python -m engine sweep ...` with as many images as are behind the curves, the plane and the layers' gaps."""
    points, gaps = {record.n for record in records}, {track.n for track in tracks.values()}
    counts = f" --n {max(points)} --n-plane {min(points)}" if points else ""
    counts += f" --n-gaps {max(gaps)}" if gaps else ""
    return f"python -m engine sweep {checkpoint}{counts}"


def evaluate_command(checkpoint: str, record: api.EvalRecord, *flags: str) -> str:
    """`python -m engine evaluate ...` with all that the record says; `flags` are added as they are."""
    words = ["python -m engine evaluate", checkpoint, f"--n {record.n}"]
    words += [f"--ap {record.setting.affine:g}", f"--ns {_statistics(record.setting)}", *_attack(record.attack)]
    crafted = record.attack_setting
    if crafted is not None and not record.white_box:
        several = (crafted,) if isinstance(crafted, api.NormSetting) else crafted
        words.append(f"--craft-ap {','.join(f'{one.affine:g}' for one in several)}")
        words.append(f"--craft-ns {','.join(_statistics(one) for one in several)}")
    if record.seed != api.SEED:
        words.append(f"--seed {record.seed}")
    return " ".join([*words, *flags])


def _statistics(setting: api.NormSetting) -> str:
    held = setting.statistics
    return f"stored:{held.lam:g}" if isinstance(held, api.Stored) else held.source


def _attack(attack: api.Attack | None) -> list[str]:
    """The attack's arguments; the page offers only attacks that the command line knows."""
    if attack is None:
        return ["--attack none"]
    threat = attack.threat
    eps = [f"--eps {api.eps_label(threat.eps)}"] + ["--norm L2"] * (threat.norm == "L2")
    match attack:
        case api.PGD():
            if replace(attack, stop="never") == api.fgsm(threat):
                return ["--attack fgsm", *eps]
            step = [] if attack.step_size == threat.eps / 4 else [f"--step-size {attack.step_size!r}"]
            return ["--attack pgd", *eps, f"--steps {attack.steps}", *step, *_loss(attack.loss)]
        case api.APGD():
            return ["--attack apgd", *eps, f"--steps {attack.steps}", *_loss(attack.loss)]
        case api.Square():
            return ["--attack square", *eps, f"--queries {attack.queries}"]
        case _:
            return ["--attack quick" if attack == api.quick_auto(threat) else "--attack auto", *eps]


def _loss(loss: str) -> list[str]:
    return [] if loss == "ce" else [f"--loss {loss}"]
