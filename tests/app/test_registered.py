"""A network that a program registered is on every page, like those of this project."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.explore import demand
from app.layers import measures, mixing
from engine import api
from engine.convert import convert
from engine.models import ARCHITECTURES
from tests.app.conftest import ROOT, run
from tests.convert.public import request, write
from tests.support import TinyCNN, in_threads, tiny

ARCHITECTURE = "test-shown"

pytestmark = pytest.mark.usefixtures("clear_results")


@pytest.fixture
def _registered(tmp_path: Path, use_checkpoints: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The only checkpoint here is of the registered network; little is computed."""
    monkeypatch.setattr(measures, "N", 16)
    monkeypatch.setattr(measures, "GROUP", 8)
    monkeypatch.setattr(mixing, "CHUNKS", ((0, 4), (4, 12)))
    monkeypatch.setattr(demand, "STOPS", (0.0, 1.0))
    with torch.random.fork_rng():
        file = write(tmp_path / "tiny.safetensors", tiny().state_dict())
    if ARCHITECTURE not in ARCHITECTURES:
        api.register(ARCHITECTURE, TinyCNN)
    convert(file, tmp_path, request(architecture=ARCHITECTURE, data="shapes"))
    use_checkpoints(tmp_path)


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize(
    ("page", "shows"),
    [("models", "Converted from tiny.safetensors"), ("explore", "at 2 stops"),
     ("layers", "Both branches have stored the same"), ("attack", "each side is attacked"), ("tour", "no stored gap")],
)  # fmt: skip
def test_its_pages_open(page: str, shows: str) -> None:
    """Both its branches are the converted network, so there is no gap either."""
    at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=200)
    at.query_params["step"] = "6"
    at = run(at.switch_page(f"screens/{page}.py"))
    said = "\n".join(element.value for element in (*at.markdown, *at.caption))
    assert shows in said
    assert not at.error
    assert not at.toast


@pytest.mark.usefixtures("_registered")
def test_it_is_judged_where_it_was_registered_by_every_thread_and_refused_elsewhere(tmp_path: Path) -> None:
    """A visitor's thread opens it; a process that does not know it says so in one sentence."""
    (opened,) = in_threads([lambda: api.open_bench("mine", torch.device("cpu"), n=8, root=tmp_path)[1].architecture])
    assert opened == ARCHITECTURE
    code = (
        f"from pathlib import Path; from engine import api; api.open_bench('mine', 'cpu', root=Path({str(tmp_path)!r}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert f"There is no network {ARCHITECTURE!r}" in answer.stderr
