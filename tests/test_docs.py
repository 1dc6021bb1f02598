"""The documentation's examples run as they stand, and its links lead somewhere."""

from __future__ import annotations

import ast
import re
import runpy
from importlib.metadata import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
RUNS = [path for path in PAGES if "```python" in path.read_text()]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_examples_run_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    """Each page checks something itself, by an `assert`, and all names that it gives are there at the end."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL))
    tree = ast.parse(code)
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))
    (tmp_path / "example.py").write_text(code)
    left = runpy.run_path(str(tmp_path / "example.py"), run_name="example")
    targets = [target for statement in tree.body if isinstance(statement, ast.Assign) for target in statement.targets]
    given = {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    assert given
    assert given <= left.keys()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    inside = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in inside if not (path.parent / link).exists()] == []


def test_every_page_address_in_the_guide_is_a_page() -> None:
    main = (ROOT / "app" / "main.py").read_text()
    paths = set(re.findall(r'url_path="(\w+)"', main)) | {""}
    guide = (ROOT / "docs" / "teaching.md").read_text()
    assert {path for path in re.findall(r"localhost:8501/(\w*)", guide)} <= paths


def test_licences_of_all_dependencies_are_listed() -> None:
    listed = (ROOT / "docs" / "licences.md").read_text()
    wanted = [line.split("==")[0] for line in (ROOT / "requirements.txt").read_text().split() if "==" in line]
    assert [name for name in wanted if f"| {name} |" not in listed] == []
    assert all(metadata(name)["Name"] for name in wanted)
