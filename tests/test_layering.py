"""The layers of the code, held by reading its imports: app -> engine.api -> ... -> engine.values, never upwards."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 300

# Lowest first. A part of the engine (a module or package directly in engine/) may import itself and lower parts.
LAYERS = (
    ("values",),
    ("files",),
    ("store", "memory", "beat", "cluster"),
    ("norm", "attacks", "data"),
    ("models", "features", "cards"),
    (
        *("checkpoint", "evaluation", "sweep", "headline", "strip", "gaps", "watch", "suspicion"),
        *("attribution", "explain", "sources"),
    ),
    ("training", "experiments", "convert"),
    ("api", "cli", "__main__"),
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
TOP = len(LAYERS)
STDLIB_ONLY = {"values", "files", "store"}
# The only imports between neighbours of one layer: (who, whom).
NEIGHBOURS = {
    ("sweep", "evaluation"),
    ("headline", "evaluation"),
    ("headline", "sweep"),
    ("watch", "evaluation"),
    ("suspicion", "evaluation"),
    ("attribution", "evaluation"),
    ("strip", "evaluation"),
    ("gaps", "evaluation"),
    ("gaps", "sources"),
    ("sources", "evaluation"),
    ("experiments", "training"),
    ("cli", "api"),
    ("__main__", "api"),
    ("__main__", "cli"),
}
# What draws has no place in what computes.
NOT_IN_ENGINE = {"app", "streamlit", "plotly", "altair", "matplotlib", "tests", "benchmarks"}


def violations(root: Path) -> list[str]:
    """One line for each forbidden import below root/engine and root/app."""
    parts = {path.relative_to(root).with_suffix("").parts[1] for path in python_files(root, "engine")}
    unknown = sorted(parts - LEVEL.keys() - {"__init__"})
    found = [f"engine/{part}: this part has no place in LAYERS of tests/test_layering.py" for part in unknown]
    for path in python_files(root, "engine", "app"):
        where = path.relative_to(root)
        for line, module in imports(path, root):
            problem = engine_problem(where, module) if where.parts[0] == "engine" else app_problem(module)
            if problem:
                found.append(f"{where}:{line}: {problem}")
    return found


def imports(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import, at whatever depth; `from engine import norm` counts as engine.norm."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "engine":
                yield from ((node.lineno, f"engine.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def engine_problem(where: Path, module: str) -> str | None:
    top, *rest = module.split(".")
    importer = where.with_suffix("").parts[1]
    if top in NOT_IN_ENGINE:
        return f"the engine imports {module}"
    if importer in STDLIB_ONLY and top != "engine" and top not in sys.stdlib_module_names:
        return f"engine.{importer} imports {module}, but it knows the standard library only"
    imported = rest[0] if top == "engine" and rest else None
    if imported is None or imported == importer or imported == "__version__":
        return None
    if LEVEL.get(imported, TOP) < LEVEL.get(importer, 0) or (importer, imported) in NEIGHBOURS:
        return None
    return f"engine.{importer} imports engine.{imported}, which is not below it"


def app_problem(module: str) -> str | None:
    if module.split(".")[0] != "engine" or module == "engine.api" or module.startswith("engine.api."):
        return None
    return f"app imports {module}; it may use engine.api only"


def python_files(root: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def long_files(root: Path) -> list[str]:
    """One line for each Python file above MAX_LINES lines."""
    counts = {
        path: len(path.read_text().splitlines()) for path in python_files(root, "engine", "app", "tests", "benchmarks")
    }
    return [f"{path.relative_to(root)}: {count} lines" for path, count in counts.items() if count > MAX_LINES]


def test_imports_point_downwards() -> None:
    assert python_files(ROOT, "engine"), "the engine was not found, so nothing was checked"
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        pytest.param("engine/norm/layer.py", "from engine.attacks import PGD", "not below it", id="neighbour"),
        pytest.param("engine/norm/layer.py", "from ..attacks.pgd import PGD", "not below it", id="relative"),
        pytest.param("engine/data/shapes.py", "from engine import norm", "not below it", id="from-package"),
        pytest.param("engine/cards.py", "import engine.evaluation", "not below it", id="upwards"),
        pytest.param("engine/evaluation.py", "from engine.sweep import sweep", "not below it", id="wrong-neighbour"),
        pytest.param("engine/__init__.py", "from engine.api import at", "not below it", id="package-root"),
        pytest.param("engine/values.py", "import torch", "standard library only", id="values"),
        pytest.param("engine/surprise.py", "import torch", "no place in LAYERS", id="unknown-part"),
        pytest.param("engine/api.py", "from engine.surprise import x", "not below it", id="unknown-imported"),
        pytest.param("engine/explain.py", "def f():\n    import matplotlib.pyplot", "imports matplotlib", id="inside"),
        pytest.param("engine/training/loop.py", "import streamlit as st", "imports streamlit", id="streamlit"),
        pytest.param("engine/api.py", "from app.cache import load", "imports app.cache", id="app"),
        pytest.param("app/pages/explore.py", "from engine.norm import at", "engine.api only", id="past-the-api"),
        pytest.param("app/cache.py", "from engine import norm", "engine.api only", id="past-the-api-from"),
        pytest.param("app/cache.py", "import engine", "engine.api only", id="whole-engine"),
    ],
)
def test_a_forbidden_import_is_reported(tmp_path: Path, file: str, source: str, complaint: str) -> None:
    write(tmp_path / file, source)
    (problem,) = violations(tmp_path)
    assert problem.startswith((f"{file}:", f"{file.removesuffix('.py')}:"))
    assert complaint in problem


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("engine/norm/views.py", "import copy\nfrom engine.norm.layer import lerp\nfrom engine.values import Branch"),
        ("engine/sweep.py", "from engine.evaluation import evaluate\nimport torch"),
        ("engine/__main__.py", "from engine import __version__, api"),
        (
            "app/pages/explore.py",
            "from engine import api\nfrom engine.api import at\nimport streamlit\nimport app.cache",
        ),
    ],
)
def test_an_allowed_import_is_not_reported(tmp_path: Path, file: str, source: str) -> None:
    write(tmp_path / file, source)
    assert violations(tmp_path) == []


def test_files_are_short() -> None:
    assert long_files(ROOT) == []


def test_a_long_file_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "engine" / "short.py", "x = 1\n" * MAX_LINES)
    write(tmp_path / "engine" / "long.py", "x = 1\n" * (MAX_LINES + 1))
    assert long_files(tmp_path) == [f"engine/long.py: {MAX_LINES + 1} lines"]


def test_the_api_does_not_load_what_draws() -> None:
    """Also captum, which takes seconds to import and brings matplotlib: only an attribution asks for it."""
    loaded = run_python(
        "import json, sys; import engine.api; "
        "json.dump(sorted({'streamlit', 'plotly', 'altair', 'captum', 'matplotlib'} & set(sys.modules)), sys.stderr)"
    )
    assert loaded == []


def test_importing_has_no_effects() -> None:
    changed = run_python("""
        import importlib, json, pathlib, sys, torch, numpy
        def state():
            return {
                "dtype": str(torch.get_default_dtype()),
                "device": str(torch.get_default_device()),
                "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
                "torch random state": torch.random.get_rng_state().tolist(),
                "numpy random state": str(numpy.random.get_state()),
                "gradients": torch.is_grad_enabled(),
                "deterministic": torch.are_deterministic_algorithms_enabled(),
                "tf32": [torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()],
                "arguments": list(sys.argv),
            }
        before = state()
        for path in sorted(pathlib.Path("engine").rglob("*.py")):
            importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
        after = state()
        json.dump([name for name in before if before[name] != after[name]], sys.stderr)
    """)
    assert changed == []


def run_python(code: str) -> list[str]:
    """What `code` writes to standard error as JSON, in a fresh interpreter that must print nothing."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return json.loads(done.stderr)


def write(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
