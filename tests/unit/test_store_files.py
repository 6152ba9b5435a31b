"""Files are whole or absent, belong to one project, and share bytes without sharing a fate."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tunesmith.errors import NotFound
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database
from tunesmith.store.files import FileStore
from tunesmith.types.files import FileDetails, StoredFile

OURS = FileDetails(project="ours", filename="a.jsonl", purpose="fine-tune")
PIECES = [b"one\n", b"", b"two \xc3\xa9\n"]


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def files(database_url: str, tmp_path: Path, clock: Clock) -> Iterator[FileStore]:
    database = Database(database_url)
    yield FileStore(database, tmp_path / "files", clock)
    database.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_file_is_what_was_given(files: FileStore, tmp_path: Path) -> None:
    content = b"".join(PIECES)
    kept = files.add(OURS, PIECES)
    digest = sha256(content).hexdigest()
    assert kept == StoredFile(
        **OURS.model_dump(), id=kept.id, bytes=len(content), digest=digest, created_at=1_700_000_000
    )
    assert kept.id.startswith("file-")
    assert files.get("ours", kept.id) == kept
    assert files.path(kept).read_bytes() == content
    with files.open(kept) as stream:
        assert stream.read() == content
    assert names(tmp_path / "files") == [digest]


def test_a_stream_gives_the_same_file(files: FileStore) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in PIECES:
            yield piece

    kept = asyncio.run(files.add_stream(OURS, pieces()))
    assert files.path(kept).read_bytes() == b"".join(PIECES)


@pytest.mark.parametrize("identity", ["file-0", "", "../files", "file-\0", "file-😀"])
def test_an_unknown_id_a_foreign_one_and_an_expired_one_are_the_same(
    files: FileStore, clock: Clock, identity: str
) -> None:
    ours = files.add(OURS, b"x")
    short = files.add(OURS.model_copy(update={"expires_at": 1_700_003_600}), b"x")
    assert files.get("ours", short.id) == short
    clock.now = 1_700_003_600
    for project, wanted in (("ours", identity), ("theirs", ours.id), ("ours", short.id)):
        for action in (files.get, files.delete):
            with pytest.raises(NotFound) as caught:
                action(project, wanted)
            assert caught.value.message == f"No such File object: {wanted}"
    assert files.get("ours", ours.id) == ours


def test_bytes_stay_as_long_as_one_file_has_them(files: FileStore, tmp_path: Path, clock: Clock) -> None:
    first, second = files.add(OURS, b"same"), files.add(OURS.model_copy(update={"project": "theirs"}), b"same")
    assert first.digest == second.digest
    files.delete("ours", first.id)
    assert files.path(second).read_bytes() == b"same"
    with files.open(second) as stream:
        files.delete("theirs", second.id)
        assert stream.read() == b"same"  # who reads already reads on
    assert names(tmp_path / "files") == []
    with pytest.raises(NotFound):
        files.open(second)


def test_expired_files_are_removed_and_others_stay(files: FileStore, tmp_path: Path, clock: Clock) -> None:
    for seconds in (10, 20):
        files.add(OURS.model_copy(update={"expires_at": int(clock.now) + seconds}), f"for {seconds}".encode())
    kept = files.add(OURS, b"for ever")
    assert files.delete_expired() == 0
    clock.now += 15
    assert files.delete_expired() == 1
    clock.now += 15
    assert files.list("ours", limit=10).files == (kept,)
    assert files.delete_expired() == 1
    assert names(tmp_path / "files") == [kept.digest]


def test_lists_have_one_order_and_end(files: FileStore) -> None:
    made = [files.add(OURS.model_copy(update={"filename": str(number)}), b"x") for number in range(5)]
    files.add(OURS.model_copy(update={"project": "theirs"}), b"x")
    batch = files.add(OURS.model_copy(update={"purpose": "batch"}), b"x")
    newest_first = (batch, *reversed(made))
    assert files.list("ours", limit=10) == (newest_first, False)
    assert files.list("ours", limit=6) == (newest_first, False)
    assert files.list("ours", limit=2) == (newest_first[:2], True)
    assert files.list("ours", limit=3, after=newest_first[1].id) == (newest_first[2:5], True)
    assert files.list("ours", limit=3, after=made[0].id) == ((), False)
    assert files.list("ours", limit=2, after=made[1].id, oldest=True) == (tuple(made[2:4]), True)
    assert files.list("ours", "batch", limit=1) == ((batch,), False)
    assert files.list("nobody", limit=1) == ((), False)
    with pytest.raises(NotFound, match="file-0"):
        files.list("ours", limit=1, after="file-0")


def test_what_breaks_off_leaves_nothing(files: FileStore, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        files.add(OURS, broken())
    assert names(tmp_path / "files") == []
    assert files.list("ours", limit=1).files == ()


def test_a_full_disk_leaves_nothing(files: FileStore, tmp_path: Path) -> None:
    files.add(OURS, b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # the kernel refuses bytes as on a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            files.add(OURS, [b"x" * 60_000] * 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(names(tmp_path / "files")) == 1
    assert len(files.list("ours", limit=9).files) == 1


KILLED = """
import sys, time
from pathlib import Path
from tunesmith.store.blobs import Blobs
draft = Blobs(Path(sys.argv[1])).draft()
draft.write(b"half")
draft.flush()
print("written", flush=True)
time.sleep(60)
"""


KILLED_KEEPING = """
import os, signal, sys
from pathlib import Path
from tunesmith.store.blobs import Blobs
blobs = Blobs(Path(sys.argv[1]))
draft = blobs.draft()
draft.write(b"orphan")
draft.sync()
with blobs.locked():
    blobs.keep(draft)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_bytes_that_another_database_does_not_know_stay(files: FileStore, tmp_path: Path) -> None:
    """A server started over an empty or an older database must not take the files away."""
    kept = files.add(OURS, b"kept")
    elsewhere = Database(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    other = FileStore(elsewhere, tmp_path / "files")
    assert other.sweep() == 0
    elsewhere.close()
    assert files.path(kept).read_bytes() == b"kept"
    assert names(tmp_path / "files") == [kept.digest]


def test_bytes_whose_removal_was_cut_short_are_swept(files: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is gone, then the process ends before the bytes are."""
    kept = files.add(OURS, b"kept")

    def cut(_: Blobs, digest: str) -> None:
        raise KeyboardInterrupt(digest)

    monkeypatch.setattr(Blobs, "remove", cut)
    with pytest.raises(KeyboardInterrupt):
        files.delete(OURS.project, kept.id)
    assert files.path(kept).is_file()
    assert files.sweep() == 1
    assert names(files.path(kept).parent) == []


def test_what_a_killed_process_left_is_swept_and_what_is_written_now_is_not(files: FileStore, tmp_path: Path) -> None:
    kept = files.add(OURS, b"kept")
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", KILLED_KEEPING, str(tmp_path / "files")], env=environment, check=False)
    assert sha256(b"orphan").hexdigest() in names(tmp_path / "files")  # a kill between the bytes and their row
    command = [sys.executable, "-c", KILLED, str(tmp_path / "files")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        with files.draft() as draft:
            assert files.sweep() == 1
            assert sorted(names(tmp_path / "files")) == sorted(
                [kept.digest, draft.path.name, *other_drafts(draft.path)]
            )
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert files.sweep() == 1
            assert sorted(names(tmp_path / "files")) == sorted([kept.digest, draft.path.name])
            draft.write(b"whole")
            assert files.path(files.keep(OURS, draft)).read_bytes() == b"whole"
    assert files.sweep() == 0


def other_drafts(mine: Path) -> list[str]:
    return [path.name for path in mine.parent.glob(".draft-*") if path != mine]
