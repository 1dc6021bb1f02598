"""How a command speaks: one JSON object, or a table; progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from engine.values import Interval


def percent(interval: Interval) -> str:
    """'64.2 % (62.1 to 66.3, n 2000)'."""
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f}, n {interval.n})"


def show(
    value: dict[str, Any], as_json: bool, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Writes `value` as JSON, or the rows as a table."""
    if as_json:
        sys.stdout.write(json.dumps(value) + "\n")
        return
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=index == 0)
    for row in rows:
        table.add_row(*row)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table if rows else f"{title}: nothing here.")


@contextmanager
def progress(description: str) -> Generator[Callable[[int, int], None]]:
    """A bar with the time left on standard error; yields the callback (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
