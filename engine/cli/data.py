"""`data list`, `data download`, `data check`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from engine import api
from engine.cli.output import progress, show
from engine.data.download import download_cifar10


def run_list(arguments: argparse.Namespace) -> None:
    place = api.cifar.find(arguments.data_dir)
    rows = [
        ["shapes", "built in", "drawn from a seed"],
        ["cifar10", "here" if place else "not here", str(place or "-")],
    ]
    value = {"data": [{"name": name, "state": state, "path": path} for name, state, path in rows]}
    show(value, arguments.json, "Image sets", ["name", "state", "where"], rows)


def run_download(arguments: argparse.Namespace) -> None:
    with progress("cifar10") as callback:
        path = download_cifar10(arguments.data_dir, callback)
    show({"path": str(path)}, arguments.json, "Downloaded and verified", ["path"], [[str(path)]])


def run_check(arguments: argparse.Namespace) -> None:
    reports = api.cifar.check(arguments.path)
    rows = [[r.file, str(r.records), r.md5, "yes" if r.official else "no", r.problem] for r in reports]
    columns = ["file", "records", "md5", "official", "problem"]
    show({"files": [asdict(report) for report in reports]}, arguments.json, str(arguments.path), columns, rows)
    if any(report.problem for report in reports):
        raise api.InputError(f"{arguments.path} has files that cannot be used (see above).")
