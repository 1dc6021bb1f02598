"""Prints what this environment has installed as a CycloneDX 1.6 bill of materials: `python -m docs.sbom > sbom.json`.

Made from what the installed packages say about themselves (`importlib.metadata`), the app's requirements and what they
need in turn; nothing is asked of a network.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote

from engine import __version__

ROOT = Path(__file__).parents[1]
NAME = re.compile(r"^[A-Za-z0-9._-]+")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(roots: list[str]) -> dict[str, Distribution]:
    """Every installed package that the roots need, by name; extras and other platforms' packages are left out."""
    found: dict[str, Distribution] = {}
    left = list(roots)
    while left:
        name = canonical(left.pop())
        try:
            one = distribution(name)
        except PackageNotFoundError:  # for another platform
            continue
        if name not in found:
            found[name] = one
            left += requirements(one)
    return found


def requirements(one: Distribution) -> list[str]:
    names = (NAME.match(text) for text in one.requires or [] if "extra ==" not in text)
    return [match.group() for match in names if match]


def component(name: str, one: Distribution) -> dict[str, Any]:
    said = one.metadata.json
    licence = str(said.get("license_expression") or said.get("license") or "").split("\n")[0][:80]
    found = {"licenses": [{"license": {"name": licence}}]} if licence else {}
    purl = f"pkg:pypi/{name}@{quote(one.version)}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": one.version, "purl": purl, **found}


def bill() -> dict[str, Any]:
    """The bill of materials of the app in this environment."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    installed = needed([line.split("==")[0] for line in lines if line.strip()])
    parts = {name: component(name, one) for name, one in sorted(installed.items())}
    tree = [
        {
            "ref": parts[name]["bom-ref"],
            "dependsOn": sorted({parts[canonical(n)]["bom-ref"] for n in requirements(one) if canonical(n) in parts}),
        }
        for name, one in sorted(installed.items())
    ]
    app = {"type": "application", "bom-ref": "dual-bn-explorer", "name": "dual-bn-explorer", "version": __version__}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": app},
        "components": list(parts.values()),
        "dependencies": [{"ref": "dual-bn-explorer", "dependsOn": [p["bom-ref"] for p in parts.values()]}, *tree],
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=1)
