"""Computed results that outlive the process: one SQLite file that several processes share.

Usage::

    store = default_store()                                     # None where DUAL_BN_STORE is off
    store.put(key, content)
    found = store.get(key, decode)                              # None where it is not there, or was damaged

It is a cache: whatever is in it can be computed again, and the file may be deleted at any time. Every call opens the
file for itself, so that threads, forks and other processes need no care, and a file that was replaced is noticed. A put
that returned survives a kill (one transaction of a write-ahead log); a loss of power may cost the last ones. Which
entry goes first is decided by a count of uses, not by the clock, which may jump.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engine.files import cache_home, sha256
from engine.store.keys import StoreKey
from engine.values import InputError

Result = TypeVar("Result")
LOG = logging.getLogger(__name__)
VARIABLE, OFF, NAME = "DUAL_BN_STORE", "off", "results.sqlite"
"""The environment variable names the folder that the file lies in, or switches the store off."""
BUSY_S = 5.0
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""The last is what a file without our table gives: one that was emptied, or is another program's."""
NOT_TO_BE_WRITTEN = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
TABLE = "CREATE TABLE results (id TEXT PRIMARY KEY, key TEXT, value BLOB, sha256 TEXT, used INTEGER)"
NEXT = "(SELECT ifnull(max(used), 0) + 1 FROM results)"
EVICT = """DELETE FROM results WHERE id IN (
    SELECT id FROM (SELECT id, row_number() OVER newest AS place, sum(length(value)) OVER newest AS bytes
                    FROM results WINDOW newest AS (ORDER BY used DESC, id))
    WHERE place > ? OR bytes > ?)"""


@dataclass(frozen=True, slots=True)
class Entry:
    """key: the JSON of its `StoreKey`, whole or not; sound: whether key and value are what was put."""

    row: int
    key: bytes
    n_bytes: int
    sound: bool


@dataclass(frozen=True, slots=True)
class Store:
    """The file at `path`, which a put makes; at most max_entries entries of max_bytes in all, the oldest use goes."""

    path: Path
    max_entries: int = 4096
    max_bytes: int = 64 << 20

    def get(self, key: StoreKey, decode: Callable[[bytes], Result]) -> Result | None:
        """What was put under the key. An entry that is damaged, or that `decode` refuses, is dropped: None.

        InputError where the file is there and cannot be read. Works on a file and a folder that cannot be written,
        while another process writes, too.
        """
        identity = sha256(key.text)
        rows = self._rows("SELECT key, value, sha256 FROM results WHERE id = ?", identity)
        if not rows:
            return None
        try:
            if not _sound(identity, *rows[0]):
                raise ValueError("its checksum differs")
            found = decode(rows[0][1])
        except Exception as error:  # whatever a decoder makes of what it cannot read
            LOG.warning("A result in %s is damaged (%s) and will be computed again.", self.path, error)
            self._try("DELETE FROM results WHERE id = ?", identity)
            return None
        self._try(f"UPDATE results SET used = {NEXT} WHERE id = ?", identity)
        return found

    def put(self, key: StoreKey, value: bytes) -> None:
        """Keeps a value, in one step; one above max_bytes is not kept. InputError where it cannot be written."""
        row = (sha256(key.text), key.text, value, _checksum(key.text, value))
        if len(value) > self.max_bytes:
            return
        for again in (True, False):
            try:
                with self._writing() as db:
                    db.execute(f"INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, {NEXT})", row)
                    db.execute(EVICT, (self.max_entries, self.max_bytes))
                return
            except (sqlite3.Error, OSError) as error:
                gone = not self.path.exists()  # set aside by another process just now
                if not again or not (gone or _damaged(error)):
                    raise self._trouble(error) from None
            self._set_aside()

    def entries(self) -> Iterator[Entry]:
        """All entries, the newest use first."""
        for row, identity, key, value, checksum in self._rows(
            "SELECT rowid, id, key, value, sha256 FROM results ORDER BY used DESC"
        ):
            known = isinstance(identity, bytes) and isinstance(key, bytes) and isinstance(value, bytes)
            sound = known and _sound(identity.decode(errors="replace"), key, value, checksum)
            yield Entry(row, key if known else b"", len(value) if known else 0, sound)

    def verify(self) -> tuple[int, int]:
        """(entries that are sound, entries that were not and are dropped now); a damaged file is set aside."""
        entries = list(self.entries())
        damaged = [entry.row for entry in entries if not entry.sound]
        for row in damaged:
            self._try("DELETE FROM results WHERE rowid = ?", row)
        return len(entries) - len(damaged), len(damaged)

    def clear(self) -> int:
        """Drops every entry and gives the space back; returns how many there were. InputError where that fails."""
        if not self.path.exists():
            return 0
        try:
            with self._writing() as db:
                count = db.execute("DELETE FROM results").rowcount
            with closing(self._connect("mode=rw")) as db:
                db.execute("VACUUM")
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from None
        return count

    def _rows(self, statement: str, *values: object) -> list[Any]:
        """What a query finds; nothing where there is no file, or none that is whole."""
        if not self.path.exists():
            return []
        try:
            with self._reading() as db:
                return db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            if self.path.exists() and not _damaged(error):
                raise self._trouble(error) from None
        with suppress(InputError):
            self._set_aside()
        return []

    def _try(self, statement: str, *values: object) -> None:
        """A change that may be left undone: a replica cannot write."""
        with suppress(sqlite3.Error, OSError), self._writing() as db:
            db.execute(statement, values)

    def _connect(self, options: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?{options}"
        db = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
        db.text_factory = bytes  # of a damaged file not all text is UTF-8
        return db

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        db = self._connect("mode=ro")
        try:
            try:
                db.execute("SELECT 1 FROM results LIMIT 1")
            except sqlite3.OperationalError as error:
                if _code(error) not in NOT_TO_BE_WRITTEN:
                    raise
                # The folder cannot be written and no process has the log open: as it lies there, then. Should one
                # begin to write just now, the checksum tells.
                db.close()
                db = self._connect("mode=ro&immutable=1")
            yield db
        finally:
            db.close()

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        """One transaction."""
        if not self.path.exists():
            with self._alone():
                self._begin()
        with closing(self._connect("mode=rw")) as db, db:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("BEGIN IMMEDIATE")
            yield db

    @contextmanager
    def _alone(self) -> Generator[None]:
        """While this process, and no other, makes or replaces the file; a kill releases it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(self.path.with_suffix(".lock"), timeout=BUSY_S, isolation_level=None)
        with closing(lock):
            lock.execute("BEGIN EXCLUSIVE")
            yield

    def _begin(self) -> None:
        """An empty file, whole from the first moment that anybody sees it."""
        if self.path.exists():
            return
        new = self.path.with_suffix(".new")
        for suffix in ("", "-wal", "-shm", "-journal"):  # what a kill left here
            Path(f"{new}{suffix}").unlink(missing_ok=True)
        with closing(sqlite3.connect(new, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(TABLE)
        os.replace(new, self.path)

    def _set_aside(self) -> None:
        """Moves a damaged file out of the way and begins a new one; only the last damaged one is kept."""
        aside = self.path.with_suffix(".damaged")
        try:
            with self._alone():
                if self.path.exists() and not self._whole():  # else another process was faster
                    # The log first: beside a new file it would be taken for that one's.
                    for suffix in ("-wal", "-shm", ""):
                        with suppress(FileNotFoundError):
                            os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
                    LOG.warning("%s was damaged; it is set aside as %s and a new one is begun.", self.path, aside.name)
                self._begin()
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from None

    def _whole(self) -> bool:
        try:
            with closing(self._connect("mode=rw")) as db:
                db.execute("SELECT key, value, sha256, used FROM results LIMIT 1")
                return db.execute("PRAGMA quick_check").fetchall() == [(b"ok",)]
        except sqlite3.DatabaseError as error:
            if not _damaged(error):
                raise
            return False

    def _trouble(self, error: Exception) -> InputError:
        return InputError(
            f"Results cannot be kept in {self.path} ({error}); make room or see to its permissions, or set {VARIABLE} "
            f"to another folder or to {OFF}."
        )


def _checksum(key: bytes, value: bytes) -> str:
    return sha256(key + b"\0" + value)


def _sound(identity: str, key: bytes, value: bytes, checksum: object) -> bool:
    """Whether a row, as it was read, is as it was written."""
    return identity == sha256(key) and checksum == _checksum(key, value).encode()


def _code(error: Exception) -> int:
    """SQLite's primary result code, 0 where there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _damaged(error: Exception) -> bool:
    return _code(error) in DAMAGED


def default_store() -> Store | None:
    """The store in the folder that DUAL_BN_STORE names, else in the user's cache folder; None where that says off.

    InputError where no home folder is known.
    """
    named = os.environ.get(VARIABLE, "")
    if named.lower() == OFF:
        return None
    try:
        return Store((Path(named).expanduser() if named else cache_home()) / NAME)
    except RuntimeError:
        raise InputError(f"No home folder is known for this user; name a folder in {VARIABLE}, or say {OFF}.") from None
