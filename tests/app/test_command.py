"""A command that is shown makes again what it stands beside."""

from __future__ import annotations

import json

import pytest

from app.command import sweep_command
from engine import api
from engine.cli.arguments import parse

SHIPPED = api.CHECKPOINTS


@pytest.mark.parametrize("name", ["shapes-dual-bn", "cifar10-resnet20-dual-bn"])
def test_the_sweep_command_asks_for_as_many_images_as_the_shipped_sweep_has(name: str) -> None:
    folder = SHIPPED / name
    counts = {json.loads(line)["n"] for line in (folder / "sweep.jsonl").read_text().splitlines()[1:]}
    sha = json.loads((folder / "card.json").read_text())["weights_sha256"]
    records = api.load_sweep(folder / "sweep.jsonl", {"weights_sha256": sha})
    tracks = api.load_tracks(folder / "gaps.json", sha)
    behind_gaps = {track["n"] for track in json.loads((folder / "gaps.json").read_text())["tracks"].values()}
    asked = parse(sweep_command(name, records, tracks).split()[3:])
    assert ({asked.n, asked.n_plane}, {asked.n_gaps}) == (counts, behind_gaps)
