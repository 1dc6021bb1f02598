"""Fetching one file of known size and MD5, so that an interruption costs nothing and a wrong file never looks right.

Usage::

    archive = download_cifar10(None, progress=lambda done, total: ...)      # into the user's cache folder
    images = cifar.load(archive, "test", allow_unofficial=False)

Bytes go to `NAME.part`, which takes the final name only when its MD5 is right. Whatever stops a download (a cut
connection, a full disk, `Cancelled` out of `progress`) leaves that file for the next call to go on from.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http
import os
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from engine.data.base import Progress
from engine.data.cifar import data_home
from engine.data.cifar_files import BINARY
from engine.values import InputError

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_SIZE = 170_052_171
CHUNK = 1 << 18
RESUMES = 3
TIMEOUT_S = 30.0
PAUSE_S = 1.0
AGAIN = "start the download again and it goes on from there"


class _Cut(Exception):
    """The connection ended before the file did."""


class _CannotResume(Exception):
    """The server has nothing at the position asked for."""


@dataclass(frozen=True, slots=True)
class _Source:
    url: str
    size: int
    progress: Progress | None


def download_cifar10(data_dir: Path | None, progress: Progress | None, url: str = CIFAR10_URL) -> Path:
    """The official binary archive in `cifar.data_home(data_dir)`, fetched if it is not there yet."""
    dest = data_home(data_dir) / BINARY.archive
    return download(url, dest, md5=BINARY.archive_md5, size=CIFAR10_SIZE, progress=progress)


def download(url: str, dest: Path, *, md5: str, size: int, progress: Progress | None) -> Path:
    """`dest`, once it is the file of `size` bytes with this MD5; a right one that is there is not fetched again."""
    if not url.startswith(("https://", "http://")):
        raise InputError(f"Only http and https addresses can be downloaded, not {url!r}.")
    part = dest.with_name(dest.name + ".part")
    try:
        if dest.exists():
            if _md5(dest) != md5:
                raise InputError(f"{dest} is there and is another file than {url}; move or delete it, then try again.")
            return dest
        dest.parent.mkdir(parents=True, exist_ok=True)
        if part.exists() and part.stat().st_size > size:
            part.unlink()
        _fetch(_Source(url, size, progress), part)
        if _md5(part) != md5:
            part.unlink()
            raise InputError(
                f"What was downloaded from {url} is not the official file (its MD5 differs), so {part.name} was "
                "deleted; try again, or fetch the file by other means."
            )
        _publish(part, dest)
    except OSError as error:
        raise _disk_error(error, dest, size) from error
    return dest


def _fetch(source: _Source, part: Path) -> None:
    """Bring `part` to its full size, resuming a few times; network failures never leave here as OSError."""
    for left in range(RESUMES, -1, -1):
        have = part.stat().st_size if part.exists() else 0
        if have == source.size:
            return
        try:
            with _open(source, have) as response:
                _append(source, response, part, have if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0)
            return
        except _CannotResume:
            part.unlink()  # it is longer than the file there, so it came from another one
        except _Cut:
            if not left:
                kept = part.stat().st_size if part.exists() else 0
                there = f"{kept:,} of {source.size:,} bytes are kept"
                raise InputError(f"The connection to {source.url} broke off, {there}; {AGAIN}.") from None
            time.sleep(PAUSE_S * (RESUMES + 1 - left))
    raise InputError(f"The server cannot go on with {source.url}; try again to start from the beginning.")


def _open(source: _Source, start: int) -> HTTPResponse:
    """The response, checked to be this file from `start` or the whole of it."""
    request = Request(source.url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            raise _CannotResume from None
        answer = f"{error.code} {error.reason}"
        raise InputError(f"The server answered {answer} for {source.url}; try again later.") from None
    except (URLError, HTTPException, OSError) as error:
        if start:
            raise _Cut from error
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{source.url} cannot be reached ({reason}); check the connection and try again.") from None
    announced = _announced_size(response, start)
    if announced not in (None, source.size):
        response.close()
        raise InputError(f"{source.url} has {announced:,} bytes instead of {source.size:,}, so it is another file.")
    return response


def _announced_size(response: HTTPResponse, start: int) -> int | None:
    """The size of the whole file as the response's headers tell it, or None."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        sent, _, total = (response.headers["Content-Range"] or "").removeprefix("bytes ").partition("/")
        if not sent.startswith(f"{start}-"):
            response.close()
            raise _CannotResume
        return int(total) if total.isdecimal() else None
    length = response.headers["Content-Length"] or ""
    return int(length) if length.isdecimal() else None


def _append(source: _Source, response: HTTPResponse, part: Path, have: int) -> None:
    """Write the body from position `have` on, and never past `source.size`."""
    with part.open("r+b" if have else "wb") as file:
        file.seek(have)
        if source.progress:
            source.progress(have, source.size)
        while chunk := _receive(response):
            if have + len(chunk) > source.size:
                raise InputError(f"{source.url} sends more than the {source.size:,} bytes of the official file.")
            file.write(chunk)
            file.flush()
            have += len(chunk)
            if source.progress:
                source.progress(have, source.size)
    if have < source.size:
        raise _Cut


def _receive(response: HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (HTTPException, OSError) as error:
        raise _Cut from error


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _publish(part: Path, dest: Path) -> None:
    """Give the file its final name in one step, its bytes on the disk first."""
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    part.replace(dest)
    with contextlib.suppress(OSError):  # a folder cannot be opened for this on Windows
        folder = os.open(dest.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _disk_error(error: OSError, dest: Path, size: int) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"The disk of {dest} is full; make room for {size / 1e6:,.0f} MB, then {AGAIN}.")
    reason = error.strerror or error
    return InputError(f"{dest} cannot be written ({reason}); name another data folder, or set DUAL_BN_DATA to one.")
