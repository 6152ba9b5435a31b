"""The work on eval runs: which server does which run, what it has found so far. Survives the death of a server."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tunesmith.store.database import Database
from tunesmith.store.evals import EvalItemRow, EvalPickRow, EvalRunRow
from tunesmith.store.webhooks import add_event
from tunesmith.types.evals import Counts, EvalItem, EvalRun, ItemStatus, RunError, RunStatus

__all__ = ["EvalWork"]


class EvalWork:
    """Runs are claimed for a time, which their server extends while it works. Times are Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, now: int, until: int) -> EvalRun | None:
        """The oldest run that is not finished and that nobody works on, now claimed and in progress."""
        open_runs = EvalRunRow.status.in_(("queued", "in_progress"))
        query = select(EvalRunRow).where(open_runs, EvalRunRow.claimed_until < now).order_by(EvalRunRow.number)
        with self._database.transaction() as session:
            row = session.scalar(query.limit(1).with_for_update(skip_locked=True))
            if row is None:
                return None
            run = EvalRun.model_validate_json(row.content).model_copy(update={"status": "in_progress"})
            row.claimed_until = until
            _write(row, run)
            return run

    def release_all(self) -> None:
        """Give up every claim: where one server has the database to itself, a claim it finds is of a dead one."""
        with self._database.transaction() as session:
            session.execute(update(EvalRunRow).values(claimed_until=0))

    def extend(self, run: EvalRun, until: int) -> bool:
        """Keep the claim until then (0: give it up); False when the run was canceled or deleted."""
        with self._database.transaction() as session:
            row = _open_row(session, run)
            if row is not None:
                row.claimed_until = until
            return row is not None

    def picks(self, run: EvalRun) -> tuple[str, ...]:
        """Ids of the stored answers that the run was made for, in their order."""
        query = select(EvalPickRow.picked).where(EvalPickRow.run_id == run.id).order_by(EvalPickRow.place)
        with self._database.transaction() as session:
            return tuple(session.scalars(query))

    def places(self, run: EvalRun) -> frozenset[int]:
        """Places of the data source that are done."""
        with self._database.transaction() as session:
            return frozenset(session.scalars(select(EvalItemRow.place).where(EvalItemRow.run_id == run.id)))

    def record(self, run: EvalRun, items: list[EvalItem]) -> bool:
        """Keep items, those of places that are done left out; False when the run was canceled or deleted."""
        with self._database.transaction() as session:
            row = _open_row(session, run)
            if row is None:
                return False
            places = [item.place for item in items]
            query = select(EvalItemRow.place).where(EvalItemRow.run_id == run.id, EvalItemRow.place.in_(places))
            done = set(session.scalars(query))
            stored = EvalRun.model_validate_json(row.content)
            for item in (item for item in items if item.place not in done):
                fields = {"id": item.id, "run_id": run.id, "place": item.place, "status": item.status}
                session.add(EvalItemRow(**fields, content=item.model_dump_json()))
                stored = _counted(stored, item)
            _write(row, stored)
            return True

    def finish(self, run: EvalRun, status: RunStatus, error: RunError | None = None) -> EvalRun | None:
        """End the run; None when it was canceled or deleted meanwhile."""
        with self._database.transaction() as session:
            row = _open_row(session, run)
            if row is None:
                return None
            ended = EvalRun.model_validate_json(row.content).model_copy(update={"status": status, "error": error})
            _write(row, ended)
            add_event(session, run.project, "eval.run.succeeded" if error is None else "eval.run.failed", run.id)
            return ended


def _open_row(session: Session, run: EvalRun) -> EvalRunRow | None:
    query = select(EvalRunRow).where(EvalRunRow.id == run.id, EvalRunRow.status == "in_progress")
    return session.scalar(query.with_for_update())


def _write(row: EvalRunRow, run: EvalRun) -> None:
    row.status, row.content = run.status, run.model_dump_json()


def _counted(run: EvalRun, item: EvalItem) -> EvalRun:
    criteria = dict(run.criteria)
    for result in item.results:
        status: ItemStatus = "error" if result["error"] else "pass" if result["passed"] else "fail"
        criteria[result["name"]] = criteria.get(result["name"], Counts(total=run.counts.total)).with_one(status)
    update = {"counts": run.counts.with_one(item.status), "criteria": criteria, "usage": run.usage.plus(item.usage)}
    return run.model_copy(update=update)
