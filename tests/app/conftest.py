"""The app driven without a browser: `explorer(model=..., lam="0.3")` is a first visit, run once.

Checkpoints come from a folder made by tests.app.world; `use_checkpoints(root)` shows another one. The app's caches keep
nothing from one folder to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app import cache
from app.attack import films, strength
from app.attack.films import Side
from app.explore import demand
from app.shown import Shown
from engine import api
from engine.values import DUAL_BN
from tests.app.world import MAIN, write_swept
from tests.support import dual_resnet, write_checkpoint

ROOT = Path(__file__).parents[2]
Explorer = Callable[..., AppTest]
ATTACK = api.PGD(api.ThreatModel("Linf", 8 / 255), 3, 2 / 255)
PAIR = (Side(0.0, "ap@stored:0", DUAL_BN), Side(1.0, "ap@stored:0", DUAL_BN))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints: one with all that can be precomputed, and `bare`, with nothing."""
    root = tmp_path_factory.mktemp("checkpoints")
    write_swept(root, MAIN)
    write_checkpoint(root, "bare")
    return root


@pytest.fixture(scope="session")
def _shown_root() -> list[Path]:
    """The folder that the caches belong to, if any."""
    return []


@pytest.fixture
def use_checkpoints(monkeypatch: pytest.MonkeyPatch, _shown_root: list[Path]) -> Callable[[Path], None]:
    """Makes the app look for checkpoints in a folder."""
    list_cards, checkpoint_folder = api.list_cards, api.checkpoint_folder

    def use(root: Path) -> None:
        monkeypatch.setattr(api, "CHECKPOINTS", root)
        monkeypatch.setattr(api, "list_cards", lambda: list_cards(root))
        monkeypatch.setattr(api, "checkpoint_folder", lambda name, *_: checkpoint_folder(name, root))
        if _shown_root != [root]:
            st.cache_resource.clear()
            st.cache_data.clear()
            _shown_root[:] = [root]

    return use


@pytest.fixture
def clear_results() -> Iterator[None]:
    """What visitors had computed is forgotten before and after."""
    cache.results().clear()
    yield
    cache.results().clear()


@pytest.fixture
def explorer(world: Path, use_checkpoints: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> Explorer:
    """Opens Explore at the given query parameters; computing on demand is cut down to two stops."""
    use_checkpoints(world)
    monkeypatch.setattr(demand, "STOPS", (0.0, 1.0))

    def open_page(**query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=100)
        at.session_state["painted"] = True  # there is no browser that could say so
        for key, value in query.items():
            at.query_params[key] = value
        return run(at)

    return open_page


def run(at: AppTest) -> AppTest:
    """One run of the script, which must not fail."""
    at.run()
    assert not at.exception, at.exception[0].stack_trace
    return at


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures on a click, on few images and points."""
    monkeypatch.setattr(strength, "N_CURVE", 6)
    monkeypatch.setattr(strength, "N_DISTANCE", 6)
    monkeypatch.setattr(strength, "N_QUERIES", 5)
    monkeypatch.setattr(strength, "LEVELS", (0, 4, 16))
    monkeypatch.setattr(strength, "STEP_COUNTS", (1, 3))
    monkeypatch.setattr(strength, "CORNERS", (0.0, 1.0))
    monkeypatch.setattr(films, "N_SURFACE", 5)


@pytest.fixture
def shown() -> Iterator[Shown]:
    forget_computed()
    model = dual_resnet().requires_grad_(False)
    bench = api.Bench(model, api.load_data("shapes", "test", 40), None)
    card = api.list_cards()[0][-1]
    yield Shown(card, model, bench, (), {}, {}, {}, "", ())
    forget_computed()


def forget_computed() -> None:
    cache.results().clear()
    cache.quick_results().clear()
    cache.networks_at.clear()
    cache.view_at.clear()
