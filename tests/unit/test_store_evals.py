"""Evals, their runs and the work on them, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from tunesmith.errors import NotFound
from tunesmith.store.database import Database
from tunesmith.store.eval_work import EvalWork
from tunesmith.store.evals import EvalPickRow, EvalStore
from tunesmith.store.webhooks import WebhookStore
from tunesmith.store.windows import Window
from tunesmith.types.evals import Counts, Eval, EvalItem, EvalRun, ItemStatus, ModelUsage, RunError
from tunesmith.types.webhooks import SigningSecret, WebhookEndpoint

MINE, THEIRS = "mine", "theirs"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


@pytest.fixture
def store(database: Database) -> EvalStore:
    return EvalStore(database)


def an_eval(store: EvalStore, identity: str = "eval_1", project: str = MINE, updated_at: int = 1) -> Eval:
    fields = {"name": identity, "metadata": None, "data_source_config": {}, "testing_criteria": ({"id": "c"},)}
    made = Eval.model_validate(fields | {"id": identity, "project": project, "created_at": 1, "updated_at": updated_at})
    store.add(made)
    return made


def a_run(
    store: EvalStore, identity: str = "run_1", eval_id: str = "eval_1", total: int = 3, picks: tuple[str, ...] = ()
) -> EvalRun:
    fields = {"id": identity, "eval_id": eval_id, "project": MINE, "key": None, "created_at": 1, "name": identity}
    counts = Counts(total=total)
    more = {"metadata": None, "model": "base", "data_source": {}, "counts": counts, "criteria": {"c": counts}}
    run = EvalRun.model_validate(fields | more)
    store.add_run(run, picks)
    return run


def an_item(run: EvalRun, place: int, status: ItemStatus = "pass") -> EvalItem:
    result = {"name": "c", "passed": status == "pass", "error": "other_error" if status == "error" else None}
    fields = {"id": f"{run.id}_{place}", "run_id": run.id, "eval_id": run.eval_id, "created_at": 1, "place": place}
    usage = ModelUsage(invocation_count=1, prompt_tokens=2, completion_tokens=3, total_tokens=5)
    more = {"status": status, "row": {}, "results": (result,), "sample": {}, "usage": usage}
    return EvalItem.model_validate(fields | more)


def test_lists_have_one_order_and_go_on_after_an_item(store: EvalStore) -> None:
    for number, updated_at in enumerate((5, 7, 7, 6)):
        an_eval(store, f"eval_{number}", updated_at=updated_at)
    an_eval(store, "foreign", THEIRS)

    def ids(window: Window, by_update: bool = False) -> tuple[list[str], bool]:
        found = store.list(MINE, window, by_update=by_update)
        return [one.id for one in found.items], found.has_more

    assert ids(Window(3)) == (["eval_0", "eval_1", "eval_2"], True)
    assert ids(Window(3, "eval_2")) == (["eval_3"], False)
    assert ids(Window(2, "eval_3", descending=True)) == (["eval_2", "eval_1"], True)
    assert ids(Window(9), by_update=True) == (["eval_0", "eval_3", "eval_1", "eval_2"], False)
    assert ids(Window(2, "eval_3"), by_update=True) == (["eval_1", "eval_2"], False)
    assert ids(Window(9, "eval_2", descending=True), by_update=True) == (["eval_1", "eval_3", "eval_0"], False)


def test_what_is_another_projects_is_not_there(store: EvalStore) -> None:
    an_eval(store)
    run = a_run(store)
    for ask in (
        lambda: store.get(THEIRS, "eval_1"),
        lambda: store.delete(THEIRS, "eval_1"),
        lambda: store.update(THEIRS, "eval_1", {"name": "x"}),
        lambda: store.run(THEIRS, "eval_1", run.id),
        lambda: store.runs(THEIRS, "eval_1", Window(9)),
        lambda: store.cancel_run(THEIRS, "eval_1", run.id),
        lambda: store.delete_run(THEIRS, "eval_1", run.id),
        lambda: store.list(THEIRS, Window(9, "eval_1")),
        lambda: store.get(MINE, "eval\0"),
    ):
        with pytest.raises(NotFound):
            ask()
    assert store.run(MINE, "eval_1", run.id) == run


def test_a_run_is_claimed_by_one_and_taken_over_when_its_time_is_up(store: EvalStore, database: Database) -> None:
    an_eval(store)
    run, work = a_run(store), EvalWork(database)
    claimed = work.claim(now=100, until=115)
    assert claimed is not None
    assert (claimed.id, claimed.status) == (run.id, "in_progress")
    assert work.claim(now=114, until=130) is None
    assert work.extend(run, 130)
    assert work.claim(now=120, until=140) is None
    again = work.claim(now=131, until=145)
    assert again is not None
    assert again.id == run.id
    assert work.extend(run, 0)  # given up
    assert work.claim(now=132, until=145) is not None


def test_rows_are_counted_once_however_often_they_are_done(store: EvalStore, database: Database) -> None:
    an_eval(store)
    run, work = a_run(store), EvalWork(database)
    assert not work.record(run, [an_item(run, 0)])  # nobody has claimed it
    work.claim(1, 2)
    assert work.record(run, [an_item(run, 0), an_item(run, 1, "fail")])
    repeated = an_item(run, 1).model_copy(update={"id": "other"})
    assert work.record(run, [repeated, an_item(run, 2, "error")])
    assert work.places(run) == {0, 1, 2}
    found = store.run(MINE, "eval_1", run.id)
    assert found.counts == Counts(total=3, passed=1, failed=1, errored=1)
    assert found.criteria == {"c": Counts(total=3, passed=1, failed=1, errored=1)}
    assert found.usage == ModelUsage(invocation_count=3, prompt_tokens=6, completion_tokens=9, total_tokens=15)
    items = store.items(run, Window(2))
    assert ([item.place for item in items.items], items.has_more) == ([0, 1], True)
    assert [item.place for item in store.items(run, Window(9), "fail").items] == [1]


def test_what_ends_a_run_ends_the_work_on_it(store: EvalStore, database: Database) -> None:
    an_eval(store)
    work = EvalWork(database)
    canceled, deleted, failed = (a_run(store, name) for name in ("run_1", "run_2", "run_3"))
    for _ in range(3):
        work.claim(1, 9)
    assert store.cancel_run(MINE, "eval_1", canceled.id)[1]
    assert not store.cancel_run(MINE, "eval_1", canceled.id)[1]
    store.delete_run(MINE, "eval_1", deleted.id)
    for run in (canceled, deleted):
        assert not work.extend(run, 20)
        assert not work.record(run, [an_item(run, 0)])
        assert work.finish(run, "completed") is None
    ended = work.finish(failed, "failed", RunError(code="not_found", message="gone"))
    assert ended is not None
    assert store.run(MINE, "eval_1", failed.id) == ended
    assert [run.status for run in store.runs(MINE, "eval_1", Window(9)).items] == ["canceled", "failed"]
    store.delete(MINE, "eval_1")
    with pytest.raises(NotFound):
        store.run(MINE, "eval_1", failed.id)


def test_the_end_of_a_run_and_its_event_are_one(store: EvalStore, database: Database) -> None:
    an_eval(store)
    webhooks, work = WebhookStore(database), EvalWork(database)
    wanted = ("eval.run.succeeded", "eval.run.canceled")
    for project in (MINE, THEIRS):
        fields = {"id": f"we_{project}", "project": project, "name": "n", "url": "https://example.org"}
        more = {"event_types": wanted, "secrets": (SigningSecret(text="whsec_AA=="),), "created_at": 1, "updated_at": 1}
        webhooks.add(WebhookEndpoint.model_validate(fields | more))
    done, failed, canceled = (a_run(store, name) for name in ("run_1", "run_2", "run_3"))
    for _ in range(3):
        work.claim(1, 9)
    work.finish(done, "completed")
    work.finish(failed, "failed", RunError(code="x", message="y"))
    store.cancel_run(MINE, "eval_1", canceled.id)
    store.cancel_run(MINE, "eval_1", canceled.id)
    deliveries = webhooks.claim(int(time.time()), 9)
    assert {one.endpoint.project for one in deliveries} == {MINE}
    told = [(json.loads(one.body)["type"], json.loads(one.body)["data"]["id"]) for one in deliveries]
    assert told == [("eval.run.succeeded", done.id), ("eval.run.canceled", canceled.id)]


def test_a_run_keeps_the_answers_it_was_made_for_in_their_order_until_it_is_deleted(
    store: EvalStore, database: Database
) -> None:
    an_eval(store)
    work = EvalWork(database)
    many = tuple(f"chat_{number * 7 % 12}" for number in range(12))
    first, second = a_run(store, "run_1", picks=many), a_run(store, "run_2", picks=("chat_3", "chat_1"))
    assert work.picks(first) == many
    assert work.picks(second) == ("chat_3", "chat_1")
    assert work.picks(a_run(store, "run_3")) == ()

    def left() -> int | None:
        with database.transaction() as session:
            return session.scalar(select(func.count()).select_from(EvalPickRow))

    assert left() == 14
    store.delete_run(MINE, "eval_1", first.id)
    assert (work.picks(first), left()) == ((), 2)
    store.delete(MINE, "eval_1")
    assert left() == 0
