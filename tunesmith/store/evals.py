"""Evals, their runs and tested rows in the database. Every question names a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import BigInteger, String, Text, UniqueConstraint, and_, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound
from tunesmith.store.database import Database, Tables
from tunesmith.store.webhooks import add_event
from tunesmith.store.windows import Slice, Window, slice_of, windowed
from tunesmith.types.evals import Eval, EvalItem, EvalRun, ItemStatus, RunStatus

__all__ = ["EvalItemRow", "EvalPickRow", "EvalRow", "EvalRunRow", "EvalStore"]

Item = TypeVar("Item")


class EvalRow(Tables):
    """An eval. `number` counts up, so that a list has one order; `content` is its JSON."""

    __tablename__ = "evals"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[str] = mapped_column(Text)


class EvalRunRow(Tables):
    """A run. Until `claimed_until` (Unix seconds) a server is at work on it; after it any server may go on."""

    __tablename__ = "eval_runs"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    eval_id: Mapped[str] = mapped_column(String(64), index=True)
    status: Mapped[str] = mapped_column(String(16), index=True)
    claimed_until: Mapped[int] = mapped_column(BigInteger, default=0)
    content: Mapped[str] = mapped_column(Text)


class EvalItemRow(Tables):
    """A tested row of a run; each place of the data source once."""

    __tablename__ = "eval_items"
    __table_args__ = (UniqueConstraint("run_id", "place", name="one_item_per_place"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    run_id: Mapped[str] = mapped_column(String(64), index=True)
    place: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)


class EvalPickRow(Tables):
    """A stored answer that a run was made for, and its place among them: the run is of the same rows to its end."""

    __tablename__ = "eval_picks"

    run_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    picked: Mapped[str] = mapped_column(String(64))


class EvalStore:
    """What the endpoints ask. What is not there, or another project's, is NotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, value: Eval) -> None:
        """Store a new eval."""
        with self._database.transaction() as session:
            fields = {"id": value.id, "project": value.project, "updated_at": value.updated_at}
            session.add(EvalRow(**fields, content=value.model_dump_json()))

    def get(self, project: str, identity: str) -> Eval:
        """One eval."""
        with self._database.transaction() as session:
            return Eval.model_validate_json(self._eval(session, project, identity).content)

    def list(self, project: str, window: Window, *, by_update: bool = False) -> Slice[Eval]:
        """Evals in the order of their making, or of their last change."""
        order = EvalRow.updated_at if by_update else None
        query = select(EvalRow).where(EvalRow.project == project)
        with self._database.transaction() as session:
            part = windowed(query, EvalRow, window, lambda after: self._eval(session, project, after), order)
            return slice_of(session, part, window, Eval.model_validate_json)

    def update(self, project: str, identity: str, changes: dict[str, Any]) -> Eval:
        """The eval with `changes` to its fields."""
        with self._database.transaction() as session:
            row = self._eval(session, project, identity, change=True)
            changed = Eval.model_validate_json(row.content).model_copy(update=changes)
            row.content, row.updated_at = changed.model_dump_json(), changed.updated_at
            return changed

    def delete(self, project: str, identity: str) -> None:
        """Forget an eval with its runs; one that is under way stops."""
        with self._database.transaction() as session:
            row = self._eval(session, project, identity, change=True)
            runs = select(EvalRunRow.id).where(EvalRunRow.eval_id == identity)
            for part in (EvalItemRow, EvalPickRow):
                session.execute(delete(part).where(part.run_id.in_(runs)))
            session.execute(delete(EvalRunRow).where(EvalRunRow.eval_id == identity))
            session.delete(row)

    def add_run(self, run: EvalRun, picks: Sequence[str] = ()) -> None:
        """Store a new run, of these stored answers, which a server will take up. NotFound when the eval is gone."""
        with self._database.transaction() as session:
            self._eval(session, run.project, run.eval_id)
            fields = {"id": run.id, "project": run.project, "eval_id": run.eval_id, "status": run.status}
            session.add(EvalRunRow(**fields, content=run.model_dump_json()))
            session.add_all(EvalPickRow(run_id=run.id, place=place, picked=one) for place, one in enumerate(picks))

    def run(self, project: str, eval_id: str, identity: str) -> EvalRun:
        """One run."""
        with self._database.transaction() as session:
            return EvalRun.model_validate_json(self._run(session, project, eval_id, identity).content)

    def runs(self, project: str, eval_id: str, window: Window, status: RunStatus | None = None) -> Slice[EvalRun]:
        """Runs of an eval in the order of their making."""
        query = select(EvalRunRow).where(EvalRunRow.project == project, EvalRunRow.eval_id == eval_id)
        query = query if status is None else query.where(EvalRunRow.status == status)
        with self._database.transaction() as session:
            self._eval(session, project, eval_id)
            part = windowed(query, EvalRunRow, window, lambda after: self._run(session, project, eval_id, after))
            return slice_of(session, part, window, EvalRun.model_validate_json)

    def cancel_run(self, project: str, eval_id: str, identity: str) -> tuple[EvalRun, bool]:
        """The run, canceled unless it was finished already (then False)."""
        with self._database.transaction() as session:
            row = self._run(session, project, eval_id, identity, change=True)
            run = EvalRun.model_validate_json(row.content)
            if run.finished:
                return run, False
            canceled = run.model_copy(update={"status": "canceled"})
            row.status, row.content = canceled.status, canceled.model_dump_json()
            add_event(session, project, "eval.run.canceled", identity)
            return canceled, True

    def delete_run(self, project: str, eval_id: str, identity: str) -> None:
        """Forget a run with its items; when it is under way it stops."""
        with self._database.transaction() as session:
            row = self._run(session, project, eval_id, identity, change=True)
            for part in (EvalItemRow, EvalPickRow):
                session.execute(delete(part).where(part.run_id == identity))
            session.delete(row)

    def item(self, run: EvalRun, identity: str) -> EvalItem:
        """One item of a run."""
        with self._database.transaction() as session:
            return EvalItem.model_validate_json(self._item(session, run, identity).content)

    def items(self, run: EvalRun, window: Window, status: ItemStatus | None = None) -> Slice[EvalItem]:
        """Items of a run in the order of their making."""
        query = select(EvalItemRow).where(EvalItemRow.run_id == run.id)
        query = query if status is None else query.where(EvalItemRow.status == status)
        with self._database.transaction() as session:
            part = windowed(query, EvalItemRow, window, lambda after: self._item(session, run, after))
            return slice_of(session, part, window, EvalItem.model_validate_json)

    def _eval(self, session: Session, project: str, identity: str, *, change: bool = False) -> EvalRow:
        query = select(EvalRow).where(EvalRow.id == identity, EvalRow.project == project)
        return _found(session.scalar(query.with_for_update() if change else query), "eval", identity)

    def _run(self, session: Session, project: str, eval_id: str, identity: str, *, change: bool = False) -> EvalRunRow:
        mine = and_(EvalRunRow.project == project, EvalRunRow.eval_id == eval_id)
        query = select(EvalRunRow).where(EvalRunRow.id == identity, mine)
        return _found(session.scalar(query.with_for_update() if change else query), "eval run", identity)

    def _item(self, session: Session, run: EvalRun, identity: str) -> EvalItemRow:
        query = select(EvalItemRow).where(EvalItemRow.id == identity, EvalItemRow.run_id == run.id)
        return _found(session.scalar(query), "output item", identity)


def _found(row: Item | None, kind: str, identity: str) -> Item:
    if row is None:
        raise NotFound(f"There is no {kind} with the id {identity!r}.")
    return row
