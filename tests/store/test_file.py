"""The store against what happens to files: kills, damage, full disks, other processes, users who may only read."""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from engine.store import Store, default_store
from engine.values import InputError
from tests.store.support import PUT, content, filled, key, output, python
from tests.support import in_threads


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "results.sqlite"


def test_what_is_put_is_got_by_another_process(path: Path) -> None:
    assert Store(path).get(key(0), bytes) is None
    assert not path.parent.exists(), "looking makes nothing"
    store = filled(path, 3)
    assert [store.get(key(i), bytes) for i in range(4)] == [content(0), content(1), content(2), None]
    assert store.get(key(0, "another kind"), bytes) is None
    read = """
        import pathlib, sys
        from engine.store import Store
        from tests.store.support import key
        print(Store(pathlib.Path(sys.argv[1])).get(key(2), bytes).decode())
    """
    assert output(python(read, path)).strip() == content(2).decode()
    store.put(key(2), b"another")
    assert store.get(key(2), bytes.decode) == "another"
    assert [entry.sound for entry in store.entries()] == [True] * 3
    assert (store.verify(), store.clear(), list(store.entries())) == ((3, 0), 3, [])


def test_no_bit_flip_anywhere_in_the_file_gives_a_wrong_result(path: Path) -> None:
    """SQLite's own header and page starts, and places all over the file, one at a time."""
    filled(path, 4)
    whole = path.read_bytes()
    lost = 0
    for position in sorted({*range(0, 110, 11), *range(4096, len(whole), 4096), *range(500, len(whole), 797)}):
        for left in path.parent.iterdir():
            left.unlink()
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        store = Store(path)
        found = [store.get(key(i), bytes) for i in range(4)]
        assert all(value in (content(i), None) for i, value in enumerate(found)), position
        lost += None in found
        missing = found.index(None) if None in found else 0
        store.put(key(missing), content(missing))
        assert store.get(key(missing), bytes) == content(missing), position
    assert lost > 10, "hardly anything was damaged"


@pytest.mark.parametrize("keep", [0, 1, 50, 1000, 4096, 5000, -1000], ids=lambda n: f"{n}-bytes-kept")
def test_of_a_file_cut_short_nothing_wrong_is_read_and_the_next_put_works(
    path: Path, keep: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(path, 20)
    path.write_bytes(path.read_bytes()[:keep])
    found = [store.get(key(i), bytes) for i in range(20)]
    assert all(value in (content(i), None) for i, value in enumerate(found))
    assert None in found
    store.put(key(0), content(0))
    assert store.get(key(0), bytes) == content(0)
    said = [record.message for record in caplog.records]
    aside = [sentence for sentence in said if "is set aside as results.damaged and a new one is begun" in sentence]
    assert len(aside) == path.with_suffix(".damaged").exists() == (keep >= 0), said
    assert aside or "its checksum differs" in said[0]


def test_other_files_are_set_aside_and_never_deleted(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("my diary, which I keep in a strange place")
    store = Store(path)
    store.put(key(0), content(0))
    assert store.get(key(0), bytes) == content(0)
    assert path.with_suffix(".damaged").read_text().startswith("my diary")
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE results")
    assert store.get(key(0), bytes) is None
    store.put(key(1), content(1))
    assert store.get(key(1), bytes) == content(1)


def test_a_damaged_entry_is_dropped_and_only_that(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = filled(path, 3)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE results SET value = ? WHERE rowid = 2", (content(2),))
    assert [entry.sound for entry in store.entries()] == [True, False, True]
    assert store.get(key(1), bytes) is None
    assert "its checksum differs" in caplog.text
    assert store.verify() == (2, 0)
    assert store.get(key(2), bytes.decode) == content(2).decode()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE results SET key = NULL WHERE rowid = 1")
    assert store.verify() == (1, 1)
    assert store.get(key(2), lambda _: [][0]) is None, "what the decoder refuses is dropped"
    assert list(store.entries()) == []


def test_it_is_bounded_and_the_oldest_use_goes_first(path: Path) -> None:
    few = Store(path, max_entries=3)
    for i in range(3):
        few.put(key(i), content(i))
    few.get(key(0), bytes)
    few.put(key(3), content(3))
    assert [few.get(key(i), bytes) is not None for i in range(4)] == [True, False, True, True]
    small = Store(path, max_bytes=100)
    small.put(key(8), b"x" * 101)
    assert len(list(small.entries())) == 3, "what could never be kept drops nothing"
    for i, size in enumerate((60, 40, 1)):
        small.put(key(i), b"x" * size)
    assert [small.get(key(i), bytes) is not None for i in range(4)] == [False, True, True, False]


def test_the_file_does_not_grow_for_ever(path: Path) -> None:
    store = Store(path, max_entries=10)
    sizes: list[int] = []
    for i in range(60):
        store.put(key(i), content(i))
        sizes.append(sum(file.stat().st_size for file in path.parent.iterdir()))
    assert max(sizes[30:]) <= 1.1 * max(sizes[:30])


def test_a_kill_at_any_moment_loses_nothing_that_was_confirmed(path: Path) -> None:
    rng = np.random.default_rng(0)
    confirmed = 0
    for _ in range(4):
        writer = python(PUT, path, confirmed)
        assert writer.stdout is not None
        confirmed = int(writer.stdout.readline()) + 1
        time.sleep(rng.uniform(0, 0.2))
        writer.send_signal(signal.SIGKILL)
        said = [int(line) for line in writer.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
        confirmed = max([confirmed, *(i + 1 for i in said)])
        store = Store(path)
        assert all(store.get(key(i), bytes) == content(i) for i in range(confirmed))
    assert Store(path).verify()[1] == 0


def test_several_processes_begin_the_file_and_write_at_once(path: Path) -> None:
    writers = [python(PUT, path, 1000 * part) for part in range(3)]
    counts: list[int] = []
    for writer in writers:
        assert writer.stdout is not None
        counts.append(len([writer.stdout.readline() for _ in range(10)]))
    for writer in writers:
        writer.kill()
        assert writer.communicate()[1] == ""
    store = Store(path)
    assert all(store.get(key(1000 * part + i), bytes) for part in range(3) for i in range(counts[part]))


def test_processes_that_find_the_same_damage_replace_the_file_once(path: Path) -> None:
    filled(path, 1)
    path.write_text("damaged")
    writers = [python(PUT.replace("itertools.count(int(sys.argv[2]))", "range(int(sys.argv[2]), int(sys.argv[2]) + 3)"),
                      path, 1000 * part) for part in range(3)]  # fmt: skip
    for writer in writers:
        output(writer)
    assert Store(path).verify() == (9, 0)
    assert path.with_suffix(".damaged").read_text() == "damaged"


def test_a_file_that_another_process_replaced_already_is_left_alone(path: Path) -> None:
    store = filled(path, 2)
    store._set_aside()
    assert store.verify() == (2, 0)
    assert not path.with_suffix(".damaged").exists()


def test_threads_share_it(path: Path) -> None:
    def work(part: int) -> list[bytes | None]:
        store = Store(path)
        for i in range(part, 40, 4):
            store.put(key(i), content(i))
        return [store.get(key(i), bytes) for i in range(part, 40, 4)]

    assert in_threads([lambda part=part: work(part) for part in range(4)]) == [
        [content(i) for i in range(part, 40, 4)] for part in range(4)
    ]


READ = """
    import os, pathlib, sys
    from engine.store import Store
    from engine.values import InputError
    from tests.store.support import NOBODY, content, key
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    store = Store(pathlib.Path(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        found = [store.get(key(i), bytes) for i in range(3)]
        assert found == [content(i) for i in range(3)], found
    try:
        store.put(key(7), b"x")
    except InputError as error:
        print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not write")
@pytest.mark.parametrize("writing", [False, True], ids=["at-rest", "while-another-writes"])
def test_who_may_only_read_can(writing: bool) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    folder.chmod(0o755)
    path = folder / "results.sqlite"
    try:
        filled(path, 3)
        before = sorted(file.name for file in folder.iterdir())
        writer = python(PUT, path, 100) if writing else None
        if writer is not None and writer.stdout is not None:
            writer.stdout.readline()
        reader = python(READ, path, 40)
        said, errors = reader.communicate(timeout=60)
        if writer is not None:
            writer.kill()
            assert len(writer.communicate()[0].splitlines()) > 3, "it could not go on"
        assert reader.returncode == 0, errors
        assert "Results cannot be kept in" in said
        assert "DUAL_BN_STORE" in said
        assert writing or sorted(file.name for file in folder.iterdir()) == before
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder is needed")
    (tmp_path / "results.sqlite").mkdir()
    for path in (tmp_path / "taken" / "results.sqlite", tmp_path / "results.sqlite"):
        with pytest.raises(InputError, match="Results cannot be kept in .*; make room .* set DUAL_BN_STORE"):
            Store(path).put(key(0), b"x")


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DUAL_BN_STORE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_environment")
def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_store() == Store(tmp_path / ".cache" / "dual-bn-explorer" / "results.sqlite")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_store() == Store(tmp_path / "cache" / "dual-bn-explorer" / "results.sqlite")
    monkeypatch.setenv("DUAL_BN_STORE", "~/kept")
    assert default_store() == Store(tmp_path / "kept" / "results.sqlite")
    monkeypatch.setenv("DUAL_BN_STORE", "OFF")
    assert default_store() is None
