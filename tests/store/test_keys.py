"""What results are kept under: another question, another key; the same question, the same key in every process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.attacks import FAB, PGD
from engine.store import as_question, code_version
from engine.values import DUAL_AP, DUAL_BN, NormSetting, Reestimated, Stored, ThreatModel
from tests.store.support import key

ATTACK = PGD(ThreatModel("Linf", 8 / 255), 10, 2 / 255)
QUESTIONS = (
    NormSetting(0.5, Stored(0.5)),
    NormSetting(0.5, Stored(0.25)),
    NormSetting(0.5, Reestimated("clean")),
    (NormSetting(0.5, Stored(0.5)), ATTACK),
    (NormSetting(0.5, Stored(0.5)), replace(ATTACK, steps=11)),
    (NormSetting(0.5, Stored(0.5)), FAB(ATTACK.threat, 10)),
    (NormSetting(0.5, Stored(0.5)), None),
    DUAL_BN,
    DUAL_AP,
)


def test_questions_differ_and_read_the_same_in_every_process() -> None:
    assert len({as_question(question) for question in QUESTIONS}) == len(QUESTIONS)
    written = '{"affine": 0.5, "is": "NormSetting", "overrides": [], "statistics": {"is": "Stored", "lam": 0.25}}'
    assert as_question(QUESTIONS[1]) == written


def test_what_is_no_frozen_value_is_refused() -> None:
    for value in (object(), PGD, {1, 2}, b"x"):
        with pytest.raises(TypeError, match="no frozen value"):
            as_question(value)


@pytest.mark.parametrize("field", ["kind", "weights_sha256", "data_sha256", "question", "version", "n", "seed"])
def test_every_field_counts(field: str) -> None:
    value = getattr(key(0), field)
    other = replace(key(0), **{field: value + 1 if isinstance(value, int) else value + "x"})
    assert other.text != key(0).text


def test_other_code_is_another_version(tmp_path: Path) -> None:
    versions: set[str] = set()
    for code in ("x = 1", "x = 2"):
        (tmp_path / "module.py").write_text(code)
        code_version.cache_clear()
        versions.add(code_version(tmp_path))
    code_version.cache_clear()
    assert len(versions | {code_version()}) == 3
