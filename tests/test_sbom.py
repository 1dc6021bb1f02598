"""The bill of materials: every pinned package at its version, nothing that leads nowhere, against pip's own list."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from docs.sbom import bill, canonical

ROOT = Path(__file__).parents[1]


def test_every_pin_is_listed_at_its_version() -> None:
    listed = {part["name"]: part["version"] for part in bill()["components"]}
    assert {"starlette", "protobuf", "sympy"} <= listed.keys()  # what the pinned ones need in turn
    for line in (ROOT / "requirements.txt").read_text().split():
        name, version = line.split("==")
        assert listed[canonical(name)].split("+")[0] == version


def test_it_holds_together_and_says_what_pip_says() -> None:
    found = bill()
    references = [part["bom-ref"] for part in found["components"]]
    assert len(references) == len(set(references))
    for entry in found["dependencies"]:
        assert set(entry["dependsOn"]) <= set(references)
    command = [sys.executable, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip("pip is not here")
    installed = {canonical(one["name"]): one["version"] for one in json.loads(done.stdout)}
    assert {part["name"]: part["version"] for part in found["components"]}.items() <= installed.items()
