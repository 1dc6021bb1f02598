"""Results that outlive the server: kept in memory for other visitors, and in the engine's store for later processes.

Usage::

    found = recall(question, bench, n, TABLE)                    # None while nobody has asked
    with working("Attacking ...", "curve", question) as progress:
        found = computed(question, lambda: compute(progress), bench, n, TABLE)
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from app.cache import remember, results
from app.forms import Form
from engine import api

Result = TypeVar("Result")


class Question(Protocol):
    """A frozen value that names all a result depends on, but for the images, the seed and the code."""

    @property
    def weights_sha256(self) -> str: ...


def recall(question: Question, bench: api.Bench | None, n: int, form: Form[Result]) -> Result | None:
    """What was computed before, for a visitor or by another process that shares the store; n: on how many images."""
    found: Result | None = results().get(question)
    if found is not None or bench is None:
        return found
    try:
        store = api.store.default_store()
        found = store and store.get(_store_key(question, bench, n, form), form.decode)
    except api.InputError as error:
        _note(str(error))
    if found is not None:
        remember(question, found)
    return found


def keep(question: Question, value: Result, bench: api.Bench, n: int, form: Form[Result]) -> None:
    """Keeps what took over a second for other visitors and, where the store can be written, for later processes."""
    remember(question, value)
    try:
        if store := api.store.default_store():
            store.put(_store_key(question, bench, n, form), form.encode(value))
    except api.InputError as error:
        _note(str(error))


def computed(question: Question, make: Callable[[], Result], bench: api.Bench, n: int, form: Form[Result]) -> Result:
    """What was computed before, else made and kept; call it inside the slot, where who waited for the same finds it."""
    found = recall(question, bench, n, form)
    if found is None:
        found = make()
        keep(question, found, bench, n, form)
    return found


def _store_key(question: Question, bench: api.Bench, n: int, form: Form[Any]) -> api.store.StoreKey:
    sets = (bench.test, bench.calibration)
    return api.store.StoreKey(
        kind=form.kind,
        weights_sha256=question.weights_sha256,
        data_sha256=" ".join(images.checksum for images in sets if images is not None),
        n=n,
        seed=api.SEED,
        question=api.store.as_question(question),
        version=api.store.code_version(Path(__file__).parent),
    )


@functools.cache
def _note(sentence: str) -> None:
    """Once in the log, however many visitors it concerns."""
    logging.getLogger(__name__).warning(sentence)
