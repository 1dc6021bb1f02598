"""Downloads from a server on this machine that misbehaves in the ways servers do."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data import cifar, download
from engine.values import Cancelled, InputError
from tests.data.file_server import Server

BODY = np.random.default_rng(0).bytes(10_000)
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "CHUNK", 1000)
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    with Server(BODY) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server: Server, dest: Path, **changes: Any) -> Path:
    arguments: dict[str, Any] = {"md5": MD5, "size": len(BODY), "progress": None} | changes
    return download.download(server.url, dest, **arguments)


def part_of(dest: Path) -> Path:
    return dest.parent / (dest.name + ".part")


def test_a_whole_download(server: Server, tmp_path: Path) -> None:
    dest = tmp_path / "new" / "folder" / "file.tar.gz"
    steps: list[tuple[int, int]] = []
    assert fetch(server, dest, progress=lambda done, total: steps.append((done, total))) == dest
    assert dest.read_bytes() == BODY
    assert list(dest.parent.iterdir()) == [dest]
    assert server.ranges == [None]
    assert [done for done, _ in steps] == list(range(0, 10_001, 1000))
    assert {total for _, total in steps} == {10_000}


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    dest = tmp_path / "file"
    dest.write_bytes(BODY)
    assert fetch(server, dest) == dest
    assert server.ranges == []


def test_another_file_in_the_place_is_left_alone(server: Server, tmp_path: Path) -> None:
    dest = tmp_path / "file"
    dest.write_bytes(b"mine")
    with pytest.raises(InputError, match="is another file.*move or delete"):
        fetch(server, dest)
    assert dest.read_bytes() == b"mine"
    assert server.ranges == []


def test_cancelling_keeps_what_came_and_the_next_call_goes_on(server: Server, tmp_path: Path) -> None:
    dest = tmp_path / "file"

    def stop_at_4000(done: int, total: int) -> None:
        assert total == 10_000
        if done >= 4000:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(server, dest, progress=stop_at_4000)
    assert part_of(dest).read_bytes() == BODY[:4000]
    assert not dest.exists()
    steps: list[int] = []
    fetch(server, dest, progress=lambda done, _: steps.append(done))
    assert dest.read_bytes() == BODY
    assert server.ranges == [None, "bytes=4000-"]
    assert steps[0] == 4000
    assert not part_of(dest).exists()


@pytest.mark.parametrize("resets", [False, True], ids=["closed", "reset"])
def test_a_cut_connection_is_resumed(resets: bool, server: Server, tmp_path: Path) -> None:
    server.cuts, server.resets = [3000, 2500, 4000], resets
    assert fetch(server, tmp_path / "file").read_bytes() == BODY
    assert len(server.ranges) == 4
    if not resets:  # a reset loses what was on its way
        assert server.ranges == [None, "bytes=3000-", "bytes=5500-", "bytes=9500-"]


def test_a_connection_that_keeps_breaking_is_given_up_and_can_be_continued(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000] * 4
    with pytest.raises(InputError, match=r"broke off, 4,000 of 10,000 bytes are kept; start the download again"):
        fetch(server, tmp_path / "file")
    assert len(server.ranges) == 1 + download.RESUMES
    assert fetch(server, tmp_path / "file").read_bytes() == BODY
    assert server.ranges[-1] == "bytes=4000-"


def test_a_server_that_dies_keeps_the_part(server: Server, tmp_path: Path) -> None:
    part_of(tmp_path / "file").write_bytes(BODY[:4000])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(InputError, match="4,000 of 10,000 bytes are kept"):
            download.download(url, tmp_path / "file", md5=MD5, size=10_000, progress=None)
        part_of(tmp_path / "file").unlink()
        with pytest.raises(InputError, match="cannot be reached.*check the connection"):
            download.download(url, tmp_path / "file", md5=MD5, size=10_000, progress=None)
    assert server.ranges == []


def test_a_server_that_ignores_range_starts_over(server: Server, tmp_path: Path) -> None:
    server.ignores_range, server.cuts = True, [3000]
    steps: list[int] = []
    dest = fetch(server, tmp_path / "file", progress=lambda done, _: steps.append(done))
    assert dest.read_bytes() == BODY
    assert server.ranges == [None, "bytes=3000-"]
    assert steps[:5] == [0, 1000, 2000, 3000, 0]


def test_a_shorter_answer_replaces_a_longer_part(server: Server, tmp_path: Path) -> None:
    """Starting over must cut the old part off, not write into it."""
    dest = tmp_path / "file"
    part_of(dest).write_bytes(b"x" * 9000)
    server.ignores_range, server.cuts = True, [2000]
    assert fetch(server, dest).read_bytes() == BODY
    assert server.ranges == ["bytes=9000-", "bytes=2000-"]


def test_a_wrong_range_is_not_pieced_together(server: Server, tmp_path: Path) -> None:
    server.wrong_range, server.cuts = True, [3000]
    assert fetch(server, tmp_path / "file").read_bytes() == BODY
    assert server.ranges == [None, "bytes=3000-", None]


def test_a_part_of_another_file_is_deleted_and_said_so(server: Server, tmp_path: Path) -> None:
    dest = tmp_path / "file"
    part_of(dest).write_bytes(b"x" * 500)
    with pytest.raises(InputError, match=r"MD5 differs.*file\.part was deleted; try again"):
        fetch(server, dest)
    assert list(tmp_path.iterdir()) == []
    assert fetch(server, dest).read_bytes() == BODY


def test_a_part_longer_than_the_file_is_dropped(server: Server, tmp_path: Path) -> None:
    part_of(tmp_path / "file").write_bytes(b"x" * 10_001)
    assert fetch(server, tmp_path / "file").read_bytes() == BODY
    assert server.ranges == [None]


def test_a_complete_part_only_needs_its_name(server: Server, tmp_path: Path) -> None:
    part_of(tmp_path / "file").write_bytes(BODY)
    assert fetch(server, tmp_path / "file").read_bytes() == BODY
    assert server.ranges == []


def test_nothing_at_the_position_asked_for(server: Server, tmp_path: Path) -> None:
    """416: the part is longer than what the server has, so it starts over, and finds the file is another."""
    part_of(tmp_path / "file").write_bytes(BODY[:9000])
    server.body = BODY[:8000]
    with pytest.raises(InputError, match="8,000 bytes instead of 10,000"):
        fetch(server, tmp_path / "file")
    assert server.ranges == ["bytes=9000-", None]
    assert not part_of(tmp_path / "file").exists()


def test_wrong_content(server: Server, tmp_path: Path) -> None:
    server.body = BODY[:-1] + b"?"
    with pytest.raises(InputError, match="not the official file"):
        fetch(server, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_page_in_place_of_the_file_is_refused_before_writing(server: Server, tmp_path: Path) -> None:
    server.body = b"<html>Please log in</html>"
    with pytest.raises(InputError, match="26 bytes instead of 10,000"):
        fetch(server, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chunked", [False, True], ids=["until closed", "chunked"])
def test_a_body_without_length_is_taken_if_right(chunked: bool, server: Server, tmp_path: Path) -> None:
    server.says_length, server.chunked = False, chunked
    assert fetch(server, tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize("how", ["said", "until closed", "chunked"])
def test_never_more_than_the_size_is_written(how: str, server: Server, tmp_path: Path) -> None:
    server.body = BODY + b"more" * 10_000
    server.says_length, server.chunked = how == "said", how == "chunked"
    with pytest.raises(InputError, match=r"50,000 bytes instead of 10,000|more than the 10,000 bytes"):
        fetch(server, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    part = part_of(tmp_path / "file")
    assert not part.exists() or part.stat().st_size <= 10_000


@pytest.mark.parametrize("status", [403, 404, 503])
def test_an_error_from_the_server(status: int, server: Server, tmp_path: Path) -> None:
    server.status = status
    with pytest.raises(InputError, match=f"answered {status} .*file.tar.gz"):
        fetch(server, tmp_path / "file")
    assert len(server.ranges) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd", ""])
def test_only_http(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Only http and https"):
        download.download(url, tmp_path / "file", md5=MD5, size=10_000, progress=None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk(server: Server, tmp_path: Path) -> None:
    part_of(tmp_path / "file").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"disk of .*file is full; make room .*start the download again"):
        fetch(server, tmp_path / "file")
    assert len(server.ranges) == 1  # a full disk is no cut connection


def test_a_place_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder is needed")
    with pytest.raises(InputError, match="cannot be written .*DUAL_BN_DATA"):
        fetch(server, tmp_path / "taken" / "file")
    with pytest.raises(InputError, match="cannot be written"):
        fetch(server, tmp_path)  # a folder where the file should be
    assert server.ranges == []


def test_the_bytes_reach_the_disk_before_the_name(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        events.append("fsync")
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        events.append("replace")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    fetch(server, tmp_path / "file")
    assert events[:2] == ["fsync", "replace"]


def test_cifar10_lands_where_find_looks(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        member.size = 3073
        tar.addfile(member, io.BytesIO(bytes([4]) + bytes(3072)))
    server.body = packed.getvalue()
    monkeypatch.setenv("DUAL_BN_DATA", str(tmp_path / "named"))
    with pytest.raises(InputError, match="instead of 170,052,171"):
        download.download_cifar10(None, None, url=server.url)
    md5 = hashlib.md5(server.body).hexdigest()
    monkeypatch.setattr(download, "BINARY", dataclasses.replace(download.BINARY, archive_md5=md5))
    monkeypatch.setattr(download, "CIFAR10_SIZE", len(server.body))
    path = download.download_cifar10(None, None, url=server.url)
    assert path == tmp_path / "named" / "cifar-10-binary.tar.gz"
    assert cifar.find(None) == path
    assert cifar.load(path, "test", allow_unofficial=True).labels.tolist() == [4]
    given = download.download_cifar10(tmp_path / "given", None, url=server.url)
    assert cifar.find(tmp_path / "given") == given
