"""Uploaded and made files: their rows in the database, and `FileStore`, which keeps rows and bytes together."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, String, and_, not_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound
from tunesmith.store.blobs import Blobs, Draft
from tunesmith.store.database import Database, Tables
from tunesmith.store.windows import cursor
from tunesmith.types.files import FileDetails, Purpose, StoredFile

__all__ = ["FilePage", "FileRow", "FileStore"]


class FileRow(Tables):
    """A file. `number` counts up, so that a list has one order; several rows may have the same bytes (`digest`)."""

    __tablename__ = "files"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger, index=True)


class FilePage(NamedTuple):
    """A part of a list, and whether more follows."""

    files: tuple[StoredFile, ...]
    has_more: bool


class FileStore:
    """Files of all projects: bytes in `folder`, named by their digest, and rows in `database`.

    A file of another project, an unknown one and an expired one are the same: NotFound. `clock` gives Unix seconds.
    """

    def __init__(self, database: Database, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._blobs = Blobs(folder)
        self._clock = clock

    def add(self, details: FileDetails, content: bytes | Iterable[bytes]) -> StoredFile:
        """Keep `content` under a new id. Raises OSError when it cannot be written; then nothing is left."""
        with self.draft() as draft:
            for piece in [content] if isinstance(content, bytes) else content:
                draft.write(piece)
            return self.keep(details, draft)

    async def add_stream(self, details: FileDetails, content: AsyncIterable[bytes]) -> StoredFile:
        """The same for bytes as they come; the event loop does not wait for the disk."""
        with await asyncio.to_thread(self.draft) as draft:
            async for piece in content:
                await asyncio.to_thread(draft.write, piece)
            return await asyncio.to_thread(self.keep, details, draft)

    def draft(self) -> Draft:
        """Bytes to be written by the caller, in a `with` block, and then given to `keep` (or to nobody)."""
        return self._blobs.draft()

    def keep(self, details: FileDetails, draft: Draft) -> StoredFile:
        """Make a file of the draft. Raises OSError when the disk is full; the draft is then still a draft."""
        draft.sync()
        row = FileRow(
            **details.model_dump(),
            id=f"file-{secrets.token_hex(12)}",
            bytes=draft.size,
            digest=draft.digest,
            created_at=int(self._clock()),
        )
        with self._blobs.locked(), self._database.transaction() as session:
            session.add(row)
            session.flush()
            self._blobs.keep(draft)
        return _stored(row)

    def get(self, project: str, identity: str) -> StoredFile:
        """The file of `project` with this id. Raises NotFound."""
        with self._database.transaction() as session:
            return _stored(self._row(session, project, identity))

    def list(
        self,
        project: str,
        purpose: Purpose | None = None,
        *,
        limit: int,
        after: str | None = None,
        oldest: bool = False,
    ) -> FilePage:
        """At most `limit` files of `project`, the newest (or `oldest`) first, those that follow the file `after`.

        Raises UnknownCursor when there is no file `after`.
        """
        present = and_(FileRow.project == project, not_(self._expired()))
        query = select(FileRow).where(present).order_by(FileRow.number if oldest else FileRow.number.desc())
        if purpose is not None:
            query = query.where(FileRow.purpose == purpose)
        with self._database.transaction() as session:
            if after is not None:
                with cursor(after):
                    place = self._row(session, project, after).number
                query = query.where(FileRow.number > place if oldest else FileRow.number < place)
            rows = session.scalars(query.limit(limit + 1)).all()
        return FilePage(tuple(map(_stored, rows[:limit])), has_more=len(rows) > limit)

    def named(self, project: str, purpose: Purpose, filename: str) -> StoredFile | None:
        """The newest file of `project` that is called so, if there is one."""
        wanted = (FileRow.project == project, FileRow.purpose == purpose, FileRow.filename == filename)
        query = select(FileRow).where(*wanted, not_(self._expired())).order_by(FileRow.number.desc()).limit(1)
        with self._database.transaction() as session:
            row = session.scalar(query)
            return None if row is None else _stored(row)

    def path(self, file: StoredFile) -> Path:
        """Where the bytes of `file` lie. Not to be changed. They are gone when the file is deleted."""
        return self._blobs.path(file.digest)

    def open(self, file: StoredFile) -> BinaryIO:
        """The bytes of `file`, which stay readable when it is deleted meanwhile. Raises NotFound when it is already."""
        try:
            return self.path(file).open("rb")
        except FileNotFoundError:
            raise _unknown(file.id) from None

    def delete(self, project: str, identity: str) -> None:
        """Forget the file of `project` with this id, and its bytes when no other file has them. Raises NotFound."""
        with self._blobs.locked():
            with self._database.transaction() as session:
                row = self._row(session, project, identity)
                session.delete(row)
                unused = self._unused(session, [row.digest])
                self._blobs.doubt(unused)
            self._remove(unused)

    def delete_expired(self) -> int:
        """Forget the files whose time has come; how many they were."""
        with self._blobs.locked():
            with self._database.transaction() as session:
                rows = session.scalars(select(FileRow).where(self._expired())).all()
                for row in rows:
                    session.delete(row)
                unused = self._unused(session, {row.digest for row in rows})
                self._blobs.doubt(unused)
            self._remove(unused)
        return len(rows)

    def sweep(self) -> int:
        """Remove what processes that were killed left in the folder; how many files that were."""
        return self._blobs.sweep(self._digests)

    def _digests(self) -> set[str]:
        with self._database.transaction() as session:
            return set(session.scalars(select(FileRow.digest).distinct()))

    def _row(self, session: Session, project: str, identity: str) -> FileRow:
        mine = and_(FileRow.id == identity, FileRow.project == project)
        row = session.scalar(select(FileRow).where(mine, not_(self._expired())))
        if row is None:
            raise _unknown(identity)
        return row

    def _expired(self) -> ColumnElement[bool]:
        return and_(FileRow.expires_at.is_not(None), FileRow.expires_at <= int(self._clock()))

    @staticmethod
    def _unused(session: Session, digests: Iterable[str]) -> Sequence[str]:
        session.flush()
        return [one for one in digests if session.scalar(select(FileRow.id).where(FileRow.digest == one)) is None]

    def _remove(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._blobs.remove(digest)


def _unknown(identity: str) -> NotFound:
    return NotFound(f"No such File object: {identity}")


def _stored(row: FileRow) -> StoredFile:
    return StoredFile.model_validate({name: getattr(row, name) for name in StoredFile.model_fields})
