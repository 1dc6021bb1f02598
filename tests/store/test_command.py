"""`python -m engine store`: what is kept, whether it is sound, and away with it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from engine.__main__ import main
from tests.store.support import filled


def test_list_verify_and_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DUAL_BN_STORE", str(tmp_path))

    def said(command: str) -> dict[str, Any]:
        assert main(["store", command, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    path = tmp_path / "results.sqlite"
    assert said("list") == {"path": str(path), "entries": []}
    filled(path, 3)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE results SET key = 'no JSON' WHERE rowid = 1")
    entries = said("list")["entries"]
    assert [entry.get("n") for entry in entries] == [2, 1, None]
    assert [entry["sound"] for entry in entries] == [True, True, False]
    assert main(["store", "list"]) == 0
    assert "test" in capsys.readouterr().out
    assert (said("verify")["sound"], said("verify")["dropped"]) == (2, 0)
    assert said("clear")["cleared"] == 2
    assert said("list")["entries"] == []
    monkeypatch.setenv("DUAL_BN_STORE", "off")
    assert main(["store", "clear"]) == 2
    assert "switched off (DUAL_BN_STORE); name a folder" in capsys.readouterr().err
