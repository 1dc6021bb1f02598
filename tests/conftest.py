"""For every test: the guard of torch's global random state, and GPU tests skipped where there is no GPU.

Build a network in a test with `with seeded(0): network = nn.Conv2d(3, 8, 3)`, which leaves that state as it found it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores; torch reads this once, when it is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What tests compute is not for the user's own store; a test of the store names a folder.
os.environ["DUAL_BN_STORE"] = "off"

import torch  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _global_rng_untouched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Randomness is an argument: visitors of one server share the global state, so nothing may read or set it."""
    before = torch.random.get_rng_state()
    yield
    if request.node.get_closest_marker("uses_global_rng"):
        torch.random.set_rng_state(before)
        return
    after = torch.random.get_rng_state()
    if not torch.equal(before, after):
        torch.random.set_rng_state(before)
        pytest.fail(
            "This test changed torch's global random state; pass a Generator, build networks in `with seeded(0)`.",
            pytrace=False,
        )


@pytest.fixture
def seeded() -> Callable[[int], AbstractContextManager[None]]:
    """`with seeded(3):` runs a block, such as the making of a network, from a seed and puts the global state back."""
    return _seeded


@contextmanager
def _seeded(seed: int) -> Generator[None, None, None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
