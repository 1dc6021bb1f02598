"""What an experiment is and what it finds: frozen values that the command line, the pages and the README share.

Usage::

    finding = EXPERIMENTS["E3"].run(family, n=2000, seed=0, progress=None)     # engine.experiments
    finding.verdict, finding.sentence, finding.table("accuracy").rows

An experiment is an `Experiment` with a function that returns an `Outcome`: tables, charts, verdict and sentence. The
rest of a `Finding` (hashes, n, command, seconds) is filled in by `Experiment.run`, so that no experiment can forget it.
Where a role in `needs` is not there the finding is "undecided" and names what is missing; `uses` may be absent.

Conventions: fractions in [0, 1], never percent (`Chart.percent` says how to show them); an interval is two columns
"low" and "high" beside the value; None where a number does not exist; layers in forward order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from engine import __version__
from engine.data.base import Progress
from engine.values import InputError

if TYPE_CHECKING:
    from engine.experiments.family import Family

Verdict = Literal["holds", "fails", "undecided"]
Kind = Literal["bars", "lines", "points", "grid"]
Cell = str | float | int | None
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under named columns; the numbers behind a chart, a CSV file and the README."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def column(self, name: str) -> list[Cell]:
        at = self.columns.index(name)
        return [row[at] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Chart:
    """How a table is drawn. x, y, low, high, series (colour) and facet (panel) name columns; "" for none.

    kind: bars, lines and points are as expected; grid is a matrix with x and series on its sides and y in its cells.
    """

    table: str
    kind: Kind
    x: str
    y: str
    x_title: str
    y_title: str
    caption: str
    low: str = ""
    high: str = ""
    series: str = ""
    facet: str = ""
    y_scale: Literal["linear", "log"] = "linear"
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction made before looking (paper notes p1 to p5), and how it came out."""

    name: str
    text: str
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an experiment computes."""

    verdict: Verdict
    sentence: str
    attack: str = ""
    caveats: tuple[str, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    link: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """An experiment's result on one family. n: images asked for; used: those it looked at (0: n); most: those behind
    accuracies that it took from cards and sweeps, where they are more; tables give the n of each row.

    checkpoints: name -> SHA-256 of the weights; data_sha256: of the first n test images and their labels; link: a query
    that opens the app in the state that shows the claim; stale: a sentence where the checkpoints have changed since
    (never saved).
    """

    experiment: str
    title: str
    claim: str
    family: str
    verdict: Verdict
    sentence: str
    caveats: tuple[str, ...]
    n: int
    seed: int
    attack: str
    checkpoints: Mapping[str, str]
    data_sha256: str
    data_note: str
    engine_version: str
    command: str
    seconds: float
    predictions: tuple[Prediction, ...]
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    link: str
    used: int = 0
    most: int = 0
    schema: int = SCHEMA
    stale: str = field(default="", compare=False)

    @property
    def images(self) -> str:
        """'500', or '500 to 10,000' where some figures rest on more images."""
        least = self.used or self.n
        return f"{least:,}" + (f" to {self.most:,}" if self.most > least else "")

    def table(self, name: str) -> Table:
        """InputError where there is none of that name."""
        found = next((table for table in self.tables if table.name == name), None)
        if found is None:
            raise InputError(
                f"{self.experiment} has no table {name!r}; it has {', '.join(t.name for t in self.tables)}."
            )
        return found

    def as_json(self) -> dict[str, Any]:
        value = asdict(self)
        del value["stale"]
        return value

    @classmethod
    def from_json(cls, value: Any, where: str) -> Finding:
        """Strict: a missing, unknown or wrong field is an InputError that names the file."""
        try:
            if value["schema"] != SCHEMA:
                raise InputError(f"{where} has schema {value['schema']!r}; this version reads {SCHEMA}.")
            fixed: dict[str, Any] = {
                "caveats": tuple(value["caveats"]),
                "predictions": tuple(Prediction(**item) for item in value["predictions"]),
                "charts": tuple(Chart(**item) for item in value["charts"]),
                "tables": tuple(
                    Table(t["name"], t["caption"], tuple(t["columns"]), tuple(tuple(row) for row in t["rows"]))
                    for t in value["tables"]
                ),
            }
            finding = cls(**(value | fixed))
            finding._check()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{where} is damaged ({error}); make it again: python -m engine paper --again.") from None
        return finding

    def _check(self) -> None:
        """ValueError where a verdict is unknown, a row has another width or a chart names what is not there."""
        unknown = {self.verdict, *(p.verdict for p in self.predictions)} - set(get_args(Verdict))
        if unknown or not all(isinstance(getattr(self, f.name), str) for f in fields(self) if f.type == "str"):
            raise ValueError(f"the verdict {unknown.pop()!r} is unknown" if unknown else "a text is not a text")
        tables = {table.name: table for table in self.tables}
        if any(len(row) != len(table.columns) for table in self.tables for row in table.rows):
            raise ValueError("a row is as long as its columns are not")
        for chart in self.charts:
            named = {chart.x, chart.y, chart.low, chart.high, chart.series, chart.facet} - {""}
            if chart.kind not in get_args(Kind) or not named <= set(tables[chart.table].columns):
                raise ValueError(f"a chart of the table {chart.table!r} cannot be drawn")


Compute = Callable[["Family", int, int, Progress | None], Outcome]


@dataclass(frozen=True, slots=True)
class Experiment:
    """name: "E3"; needs: roles without which it cannot run; uses: roles it takes in where they are there.

    beyond: it asks what the paper does not. at_most: it looks at no more images than this, however many are asked for.
    """

    name: str
    title: str
    claim: str
    compute: Compute
    needs: tuple[str, ...]
    uses: tuple[str, ...] = ()
    beyond: bool = False
    at_most: int = 0

    def roles(self, family: Family) -> tuple[str, ...]:
        """Members it would use of this family."""
        return tuple(role for role in (*self.needs, *self.uses) if role in family.members)

    def run(self, family: Family, n: int, seed: int, progress: Progress | None = None) -> Finding:
        """InputError where the family has fewer than n test images; `progress` may raise Cancelled."""
        started = time.monotonic()
        family.looked.clear()
        missing = family.missing(*self.needs)
        outcome = Outcome("undecided", missing) if missing else self.compute(family, n, seed, progress)
        images = family.images(n)
        unofficial = " --unofficial" if images.note else ""
        finding = Finding(
            experiment=self.name,
            title=self.title,
            claim=self.claim,
            family=family.name,
            verdict=outcome.verdict,
            sentence=outcome.sentence,
            caveats=outcome.caveats,
            n=n,
            seed=seed,
            attack=outcome.attack,
            checkpoints={family.members[r].name: family.members[r].weights_sha256 for r in self.roles(family)},
            data_sha256=images.checksum,
            data_note=images.note,
            engine_version=__version__,
            command=f"python -m engine paper {self.name} --family {family.name} --n {n}{unofficial}",
            seconds=round(time.monotonic() - started, 1),
            predictions=outcome.predictions,
            tables=outcome.tables,
            charts=outcome.charts,
            link=outcome.link,
            used=min(n, self.at_most) if self.at_most else n,
            most=max(family.looked, default=0),
        )
        finding._check()  # pyright: ignore[reportPrivateUsage]
        return finding

    def fresh(self, finding: Finding, family: Family, n: int, seed: int) -> bool:
        """Whether a finding on file is what `run` would give: same members, images asked for, seed and version."""
        hashes = {family.members[r].name: family.members[r].weights_sha256 for r in self.roles(family)}
        made = (finding.checkpoints, finding.n, finding.seed, finding.engine_version, finding.claim)
        return made == (hashes, n, seed, __version__, self.claim)


def table(name: str, caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """A table with numbers to six significant digits, and None for what is not finite."""
    return Table(name, caption, tuple(columns), tuple(tuple(_cell(cell) for cell in row) for row in rows))


def _cell(cell: Cell) -> Cell:
    if not isinstance(cell, float):
        return cell
    return float(f"{cell:.6g}") if math.isfinite(cell) else None


class Steps:
    """Counts the parts of an experiment as they are done and tells `progress`; `inside` only lets it cancel."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.count, self.total, self.progress = 0, total, progress

    def done(self) -> None:
        self.count += 1
        self.inside(0, 0)

    def inside(self, _done: int, _total: int) -> None:
        if self.progress is not None:
            self.progress(min(self.count, self.total), self.total)


def marked_stale(finding: Finding, hashes: Mapping[str, str]) -> Finding:
    """The finding, with a sentence where a checkpoint it rests on is now another; hashes: name -> SHA-256."""
    changed = [name for name, made_with in finding.checkpoints.items() if hashes.get(name) != made_with]
    if not changed:
        return finding
    return replace(finding, stale=f"Made with other weights of {', '.join(changed)}; run: {finding.command}")
