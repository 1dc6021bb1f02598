"""`paper`: the paper's experiments on every family of checkpoints, with a verdict each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine import api
from engine.cli.evaluate import set_threads
from engine.cli.output import progress, show
from engine.experiments import EXPERIMENTS, Experiment, Family, Finding, finding_path, load_finding, save_finding

DIGITS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"{', '.join(EXPERIMENTS)}; default: all")
    parser.add_argument("--family", nargs="+", metavar="NAME", help="shapes, cifar10-resnet20 ...; default: all")
    parser.add_argument("--n", type=int, default=2000, help="held-out images")
    parser.add_argument("--seed", type=int, default=api.SEED)
    parser.add_argument("--out", type=Path, help="folder of the results; default: paper/ beside the checkpoints")
    parser.add_argument("--again", action="store_true", help="compute also what is on file already")


def chosen(arguments: argparse.Namespace) -> tuple[list[Experiment], list[Family]]:
    """The experiments and families that were named; InputError lists what there is for one that is not there."""
    device = api.pick_device(arguments.device)
    where: dict[str, Any] = {"data_dir": arguments.data_dir, "allow_unofficial": arguments.unofficial}
    families = api.open_families(device, root=arguments.root, **where)
    for names, known, what in (
        (arguments.experiments, EXPERIMENTS, "experiment"),
        (arguments.family or (), families, "family"),
    ):
        for name in names:
            if name not in known:
                raise api.InputError(f"There is no {what} {name!r}; there are: {', '.join(known) or 'none yet'}.")
    experiments = [EXPERIMENTS[name] for name in arguments.experiments or EXPERIMENTS]
    return experiments, [families[name] for name in arguments.family or families]


def known_finding(folder: Path, family: Family, experiment: Experiment, n: int, seed: int) -> Finding | None:
    """The finding on file, where computing it again would give the same."""
    try:
        finding = load_finding(finding_path(folder, family.name, experiment.name))
    except api.InputError:
        return None
    return finding if experiment.fresh(finding, family, n, seed) else None


def run(arguments: argparse.Namespace) -> None:
    set_threads(arguments)
    experiments, families = chosen(arguments)
    folder: Path = arguments.out or arguments.root / api.FINDINGS
    findings: list[Finding] = []
    problems: list[str] = []
    for family in families:
        try:
            family.images(arguments.n)
        except api.InputError as error:  # its images are not here; the other families still count
            if arguments.family:
                raise
            problems.append(f"{family.name}: {error}")
            continue
        for experiment in experiments:
            found = known_finding(folder, family, experiment, arguments.n, arguments.seed)
            if found is None or arguments.again:
                try:
                    with progress(f"{experiment.name} {family.name}") as callback:
                        found = experiment.run(family, arguments.n, arguments.seed, callback)
                except api.InputError as error:  # one of its networks is damaged; other claims rest on others
                    problems.append(f"{experiment.name} {family.name}: {error}")
                    continue
                save_finding(folder, found)
            findings.append(found)
    rows = [[f.experiment, f.family, f.verdict, f.sentence] for f in findings]
    rows += [[p.name, f.family, p.verdict, p.sentence] for f in findings for p in f.predictions]
    rows += [["-", "-", "not run", problem] for problem in problems]
    value = {"findings": [finding.as_json() for finding in findings], "problems": problems}
    show(value, arguments.json, "Claims", ["claim", "family", "verdict", "evidence"], rows)
