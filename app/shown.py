"""A checkpoint as every page sees it: loaded once, shared by all visitors, never written to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from engine import api


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A checkpoint as the pages see it. bench is None where its images are not here; problem then says what to do."""

    card: api.ModelCard
    model: nn.Module
    bench: api.Bench | None
    records: tuple[api.EvalRecord, ...]
    tracks: dict[str, api.Track]
    strips: dict[str, api.Strip]
    sweep: dict[str, Any]
    problem: str
    notes: tuple[str, ...]

    def image(self, index: int) -> tuple[str, int]:
        """Which image this is, for keys of results: of which images, and its place there."""
        return "" if self.bench is None else self.bench.test.checksum, index
