"""The models that fine-tuning jobs made, by name and project."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import BigInteger, ColumnElement, String, delete, exists, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.store.database import Database, Tables
from tunesmith.store.permissions import PermissionRow
from tunesmith.store.releases import ReleaseRow, all_releases, releases_without
from tunesmith.types.release import Release
from tunesmith.types.tuned import JOB_PREFIX, TunedModel

__all__ = ["TunedModels", "TunedRow", "add_tuned"]


class TunedRow(Tables):
    """A tuned model. `number` counts up. Of a deleted model the row is gone; its release stays without its adapter, and
    nobody sees it.
    """

    __tablename__ = "tuned_models"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(400), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    release: Mapped[str] = mapped_column(String(64), index=True)
    job: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)


def add_tuned(session: Session, model: TunedModel) -> None:
    """Store `model`, unless it is there already."""
    if session.scalar(select(TunedRow.number).where(TunedRow.name == model.name)) is None:
        session.add(TunedRow(**model.model_dump()))
        session.flush()


class TunedModels:
    """The tuned models in `database`. Every question names a project; another project's models do not exist for it,
    unless that project permitted their use.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, model: TunedModel) -> None:
        """Store `model`, unless it is there already."""
        with self._database.transaction() as session:
            add_tuned(session, model)

    def list(self, project: str) -> tuple[TunedModel, ...]:
        """The models that `project` may use, oldest first."""
        with self._database.transaction() as session:
            rows = session.scalars(select(TunedRow).where(_usable(project)).order_by(TunedRow.number))
            return tuple(map(_value, rows))

    def find(self, project: str, name: str) -> TunedModel | None:
        """The model with this name, when `project` may use it, or None."""
        with self._database.transaction() as session:
            row = session.scalar(select(TunedRow).where(TunedRow.name == name, _usable(project)))
            return None if row is None else _value(row)

    def nameless(self) -> tuple[Release, ...]:
        """The releases of jobs that no model means: it was deleted, or its job was cancelled before anybody got it."""
        meant = exists().where(TunedRow.release == ReleaseRow.id)
        with self._database.transaction() as session:
            return releases_without(session, meant, JOB_PREFIX)

    def digests(self, without: Collection[str]) -> frozenset[str]:
        """The digests of the adapters of all releases but those with the ids `without`."""
        with self._database.transaction() as session:
            releases = all_releases(session)
        return frozenset(release.adapter_digest for release in releases if release.identity() not in without)

    def delete(self, project: str, name: str) -> bool:
        """Forget the model of `project` with this name; False when there is none."""
        with self._database.transaction() as session:
            query = select(TunedRow).where(TunedRow.name == name, TunedRow.project == project).with_for_update()
            row = session.scalar(query)
            if row is not None:
                session.execute(delete(PermissionRow).where(PermissionRow.checkpoint == name))
                session.delete(row)
        return row is not None


def _usable(project: str) -> ColumnElement[bool]:
    """Of the project itself, or of one that permitted it."""
    permitted = select(PermissionRow.checkpoint).where(PermissionRow.grantee == project)
    return or_(TunedRow.project == project, TunedRow.name.in_(permitted))


def _value(row: TunedRow) -> TunedModel:
    return TunedModel.model_validate({name: getattr(row, name) for name in TunedModel.model_fields})
