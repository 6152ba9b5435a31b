"""Files that come in parts: the parts lie beside the files until the upload is completed, cancelled or too old."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sqlalchemy import BigInteger, String, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound, TunesmithError
from tunesmith.store.blobs import Blobs, Draft
from tunesmith.store.database import Database, Tables
from tunesmith.types.uploads import Part, Upload, UploadState

__all__ = ["MOST_PARTS", "TooManyParts", "UploadPartRow", "UploadRow", "UploadStore"]

MOST_PARTS = 100_000
"""parts of one upload"""

_PIECE = 1 << 20


class TooManyParts(TunesmithError):
    """The parts of an upload are more than its file can be made of."""


class UploadRow(Tables):
    """An upload."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project: Mapped[str] = mapped_column(index=True)
    filename: Mapped[str]
    purpose: Mapped[str]
    mime_type: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(32), index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    file_seconds: Mapped[int | None] = mapped_column(BigInteger)
    file_id: Mapped[str | None] = mapped_column(String(64))


class UploadPartRow(Tables):
    """A part of an upload; there are rows only as long as the upload is pending."""

    __tablename__ = "upload_parts"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    upload_id: Mapped[str] = mapped_column(String(64), index=True)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)


class UploadStore:
    """Uploads of all projects: parts in `folder`, rows in `database`. `clock` gives Unix seconds."""

    def __init__(self, database: Database, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._blobs = Blobs(folder)
        self._clock = clock

    def add(self, upload: Upload) -> None:
        """Begin an upload."""
        with self._database.transaction() as session:
            session.add(UploadRow(**upload.model_dump()))

    def get(self, project: str, identity: str) -> Upload:
        """The upload of `project` with this id, expired when its time is over. Raises NotFound."""
        with self._database.transaction() as session:
            return self._upload(self._row(session, project, identity))

    def draft(self) -> Draft:
        """Bytes of a part, to be written by the caller and given to `add_part`."""
        return self._blobs.draft()

    def add_part(self, upload: Upload, draft: Draft) -> Part | None:
        """Keep the draft as a part; None when the upload is no longer pending.

        Raises TooManyParts when the parts would be more than the file that was announced can be made of, OSError when
        the disk is full.
        """
        draft.sync()
        part = Part(
            id=f"part_{secrets.token_hex(12)}",
            upload_id=upload.id,
            digest=draft.digest,
            bytes=draft.size,
            created_at=int(self._clock()),
        )
        with self._blobs.locked(), self._database.transaction() as session:
            if self._upload(self._row(session, upload.project, upload.id)).status != "pending":
                return None
            _require_room(session, upload, part)
            session.add(UploadPartRow(**part.model_dump()))
            session.flush()
            self._blobs.keep(draft)
        return part

    def parts(self, upload: Upload) -> dict[str, Part]:
        """The parts that have come, by their id."""
        with self._database.transaction() as session:
            rows = session.scalars(select(UploadPartRow).where(UploadPartRow.upload_id == upload.id))
            return {row.id: _part(row) for row in rows}

    def pieces(self, parts: Sequence[Part]) -> Iterator[bytes]:
        """The bytes of the parts one after the other. Raises FileNotFoundError when the upload ended meanwhile."""
        for part in parts:
            with self._blobs.path(part.digest).open("rb") as stream:
                while piece := stream.read(_PIECE):
                    yield piece

    def end(self, upload: Upload, status: UploadState, file_id: str | None = None) -> Upload | None:
        """Give the upload its last status and remove its parts; None when it is no longer pending."""
        with self._blobs.locked():
            with self._database.transaction() as session:
                row = self._row(session, upload.project, upload.id)
                if self._upload(row).status != "pending":
                    return None
                row.status, row.file_id = status, file_id
                unused = self._forget_parts(session, [upload.id])
                ended = self._upload(row)
            self._remove(unused)
        return ended

    def end_expired(self) -> int:
        """Give up the uploads whose time is over; how many they were."""
        with self._blobs.locked():
            with self._database.transaction() as session:
                over = (UploadRow.status == "pending", UploadRow.expires_at <= int(self._clock()))
                rows = session.scalars(select(UploadRow).where(*over).with_for_update()).all()
                for row in rows:
                    row.status = "expired"
                unused = self._forget_parts(session, [row.id for row in rows])
            self._remove(unused)
        return len(rows)

    def _forget_parts(self, session: Session, uploads: Sequence[str]) -> Sequence[str]:
        """Delete the rows of these uploads' parts; the digests that no other part has."""
        theirs = UploadPartRow.upload_id.in_(uploads)
        digests = session.scalars(select(UploadPartRow.digest).where(theirs).distinct()).all()
        session.execute(delete(UploadPartRow).where(theirs))
        others = set(session.scalars(select(UploadPartRow.digest).where(UploadPartRow.digest.in_(digests))))
        unused = [digest for digest in digests if digest not in others]
        self._blobs.doubt(unused)
        return unused

    def _remove(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._blobs.remove(digest)

    def sweep(self) -> int:
        """Remove what processes that were killed left in the folder; how many files that were."""
        return self._blobs.sweep(self._digests)

    def _digests(self) -> set[str]:
        with self._database.transaction() as session:
            return set(session.scalars(select(UploadPartRow.digest).distinct()))

    def _row(self, session: Session, project: str, identity: str) -> UploadRow:
        mine = (UploadRow.id == identity, UploadRow.project == project)
        row = session.scalar(select(UploadRow).where(*mine).with_for_update())
        if row is None:
            raise NotFound(f"No such Upload object: {identity}")
        return row

    def _upload(self, row: UploadRow) -> Upload:
        found = Upload.model_validate({name: getattr(row, name) for name in Upload.model_fields})
        over = found.status == "pending" and found.expires_at <= self._clock()
        return found.model_copy(update={"status": "expired"}) if over else found


def _require_room(session: Session, upload: Upload, part: Part) -> None:
    """The same bytes count once: a part whose answer was lost is sent again."""
    rows = select(UploadPartRow.digest, UploadPartRow.bytes).where(UploadPartRow.upload_id == upload.id)
    known = {row.digest: row.bytes for row in session.execute(rows.distinct())}
    together = sum((known | {part.digest: part.bytes}).values())
    if together > upload.bytes:
        raise TooManyParts(
            f"The parts would have {together} bytes together; the upload was announced with {upload.bytes}."
        )
    if session.scalar(select(func.count()).where(UploadPartRow.upload_id == upload.id)) == MOST_PARTS:
        raise TooManyParts(f"The upload has {MOST_PARTS} parts already, as many as it may.")


def _part(row: UploadPartRow) -> Part:
    return Part.model_validate({name: getattr(row, name) for name in Part.model_fields})
