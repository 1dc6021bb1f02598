"""The short form of `make fuzz`: a few dozen damaged inputs a parser, and that a crash would be seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from engine.values import InputError
from tests.fuzz import hammer as hammering
from tests.fuzz.hammer import hammer
from tests.fuzz.parsers import PARSERS, Parser

CASES = 60


@pytest.mark.parametrize("name", PARSERS)
def test_damaged_input_is_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    result = hammer(name, CASES, tmp_path)
    assert result.crashes == []
    assert result.cases >= CASES


def test_no_input_is_tried_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setitem(PARSERS, "few", lambda _: Parser(st.integers().map(lambda k: k % 90), 7, tried.append))
    result = hammer("few", 500, tmp_path)
    assert len(tried) == len(set(tried)) == result.cases + 1  # and the good one
    assert result.cases > 60


def test_a_parser_that_crashes_or_hangs_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(case: int) -> int:
        if case == 0:
            raise InputError("refused")
        while case > 90:
            pass
        return 1 // (case - 5)

    monkeypatch.setattr(hammering, "HANG_SECONDS", 0.05)
    monkeypatch.setitem(PARSERS, "bad", lambda _: Parser(st.integers(0, 91), 7, read))
    result = hammer("bad", 500, tmp_path)
    assert {crash.split(":")[0] for crash in result.crashes} == {"ZeroDivisionError", "HungError"}
    assert 0 < result.accepted < result.cases
