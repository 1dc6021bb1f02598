"""`paper`: the paper's experiments on every family of checkpoints, with a verdict each."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import api
from engine.cli import shards
from engine.cli.evaluate import set_threads
from engine.cli.output import progress, show
from engine.experiments import EXPERIMENTS, Experiment, Family, Finding, finding_path, load_finding, save_finding

DIGITS = 8
Job = tuple[Family, Experiment]
Far = tuple[shards.Where, str, str, int, int]
"""What to open, family, experiment, n, seed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"{', '.join(EXPERIMENTS)}; default: all")
    parser.add_argument("--family", nargs="+", metavar="NAME", help="shapes, cifar10-resnet20 ...; default: all")
    parser.add_argument("--n", type=int, default=2000, help="held-out images")
    parser.add_argument("--seed", type=int, default=api.SEED)
    parser.add_argument("--out", type=Path, help="folder of the results; default: paper/ beside the checkpoints")
    parser.add_argument("--again", action="store_true", help="compute also what is on file already")


def chosen(arguments: argparse.Namespace) -> tuple[list[Experiment], list[Family]]:
    """The experiments and families that were named; InputError lists what there is for one that is not there."""
    device = api.pick_device("cpu" if arguments.ray else arguments.device)
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


def made_here(arguments: argparse.Namespace, jobs: Sequence[Job]) -> Iterator[tuple[int, Finding | str]]:
    """(index, finding), or the sentence that says why there is none: a damaged network, while other claims rest on
    others."""
    for index, (family, experiment) in enumerate(jobs):
        with progress(f"{experiment.name} {family.name}") as callback:
            try:
                found = experiment.run(family, arguments.n, arguments.seed, callback)
            except api.InputError as error:
                found = str(error)
        yield index, found


@lru_cache(maxsize=1)
def families_there(place: shards.Where) -> dict[str, Family]:
    shards.settle(place)
    where: dict[str, Any] = {"data_dir": place.data_dir, "allow_unofficial": place.unofficial, "root": place.root}
    return api.open_families(api.pick_device(place.device), **where)


def made_there(far: Far) -> Finding | str:
    """In a worker, where families stay open for the next job."""
    place, family, experiment, n, seed = far
    try:
        return EXPERIMENTS[experiment].run(families_there(place)[family], n, seed)
    except api.InputError as error:
        return str(error)
    except KeyError:
        return "A machine of the cluster has not the same checkpoints; share one folder."


def made_far(arguments: argparse.Namespace, jobs: Sequence[Job]) -> Iterator[tuple[int, Finding | str]]:
    """The same on a cluster, in the order in which they are done; InputError where a worker has other checkpoints."""
    place, (n, seed) = shards.where(arguments), (arguments.n, arguments.seed)
    far: list[Far] = [(place, family.name, experiment.name, n, seed) for family, experiment in jobs]
    with progress("claims") as callback:
        for done, (index, found) in enumerate(shards.spread_at(arguments.ray, made_there, far, place)):
            family, experiment = jobs[index]
            if isinstance(found, Finding) and not (
                experiment.fresh(found, family, n, seed) and found.data_sha256 == family.images(n).checksum
            ):
                raise api.InputError("A machine of the cluster has other checkpoints or images; share one folder.")
            callback(done + 1, len(jobs))
            yield index, found


def run(arguments: argparse.Namespace) -> None:
    """Computes what is not on file, keeps each finding as soon as it is there, and shows all."""
    set_threads(arguments)
    experiments, families = chosen(arguments)
    folder: Path = arguments.out or arguments.root / api.FINDINGS
    problems: list[str] = []
    jobs: list[Job] = []
    for family in families:
        try:
            family.images(arguments.n)
        except api.InputError as error:  # its images are not here; the other families still count
            if arguments.family:
                raise
            problems.append(f"{family.name}: {error}")
            continue
        jobs += [(family, experiment) for experiment in experiments]
    known = [None if arguments.again else known_finding(folder, *job, arguments.n, arguments.seed) for job in jobs]
    missing = [index for index, finding in enumerate(known) if finding is None]
    make = made_far if arguments.ray else made_here
    for index, found in make(arguments, [jobs[index] for index in missing]):
        family, experiment = jobs[missing[index]]
        if isinstance(found, str):
            problems.append(f"{experiment.name} {family.name}: {found}")
        else:
            save_finding(folder, found)
            known[missing[index]] = found
    tell(arguments, [finding for finding in known if finding is not None], problems)


def tell(arguments: argparse.Namespace, findings: list[Finding], problems: list[str]) -> None:
    rows = [[f.experiment, f.family, f.verdict, f.sentence] for f in findings]
    rows += [[p.name, f.family, p.verdict, p.sentence] for f in findings for p in f.predictions]
    rows += [["-", "-", "not run", problem] for problem in problems]
    value = {"findings": [finding.as_json() for finding in findings], "problems": problems}
    show(value, arguments.json, "Claims", ["claim", "family", "verdict", "evidence"], rows)
