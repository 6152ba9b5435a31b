"""Splits by group and time, mixtures of sources, and what becomes of long rows; oracles are counted by hand."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith.errors import DataError
from tunesmith.prepare.instant import instant
from tunesmith.types.recipe import PrepareSpec


def jsonl(rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def talks(count: int = 60) -> str:
    """Three rows of each customer, a day apart, the customers in turn."""
    return jsonl(
        {"prompt": f"question {number}", "completion": f"answer {number}", "customer": f"c{number % (count // 3)}",
         "day": f"2024-01-{1 + number // 2:02d}"}
        for number in range(count)
    )  # fmt: skip


def places(dataset: Any, field: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for split in dataset.manifest.splits:
        for row in dataset.examples(split):
            found.setdefault(row.content.metadata[field], set()).add(split)
    return found


def test_a_group_lands_in_one_split(run: Any) -> None:
    for seed in range(3):
        split = {"validation": 0.2, "test": 0.2, "by": "customer", "seed": seed}
        dataset = run({"a.jsonl": talks()}, split=split)
        assert all(len(each) == 1 for each in places(dataset, "customer").values())
        assert {name: each.rows for name, each in dataset.manifest.splits.items()} == {
            "train": 36,
            "validation": 12,
            "test": 12,
        }
    dataset = run({"a.jsonl": talks()}, split={"validation": 0.2, "test": 0.2})
    assert any(len(each) > 1 for each in places(dataset, "customer").values())  # what `by` is for


def test_rows_without_the_group_are_named(run: Any) -> None:
    rows = jsonl([{"prompt": "a", "completion": "b", "customer": "x"}, {"prompt": "c", "completion": "d"}])
    with pytest.raises(DataError) as caught:
        run({"a.jsonl": rows}, split={"validation": 0, "test": 0, "by": "customer"})
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.field) == ("a.jsonl", 2, "customer")


@pytest.mark.parametrize("cut", [None, "2024-01-26"])
def test_the_newest_rows_are_held_out(cut: str | None, run: Any) -> None:
    time = {"field": "day", "cut": cut}
    dataset = run({"a.jsonl": talks()}, split={"validation": 1 / 12, "test": 1 / 12, "time": time})
    names = ("train", "validation", "test")
    days = {name: [row.content.metadata["day"] for row in dataset.examples(name)] for name in names}
    # Sixty rows on thirty days, two a day: the last ten rows are those of the days 26 to 30.
    assert {name: len(each) for name, each in days.items()} == {"train": 50, "validation": 5, "test": 5}
    assert max(days["train"]) < "2024-01-26" <= min(days["validation"]) <= max(days["validation"]) <= min(days["test"])


def test_a_group_goes_by_its_latest_row(run: Any) -> None:
    split = {"validation": 0, "test": 0.1, "by": "customer", "time": {"field": "day", "cut": "2024-01-29"}}
    dataset = run({"a.jsonl": talks()}, split=split)
    late = {row["customer"] for row in map(json.loads, talks().splitlines()) if row["day"] >= "2024-01-29"}
    assert {row.content.metadata["customer"] for row in dataset.examples("test")} == late
    assert dataset.manifest.splits["test"].rows == 3 * len(late)


def test_a_day_that_is_none_is_named(run: Any) -> None:
    rows = jsonl([{"prompt": "a", "completion": "b", "day": "last May"}])
    with pytest.raises(DataError, match=r"a\.jsonl:1: day: 'last May' is no date or time -> write 2024-05-31"):
        run({"a.jsonl": rows}, split={"validation": 0, "test": 0.5, "time": {"field": "day"}})


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_a_number_that_is_no_point_in_time_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is no date or time"):
        instant(text, "day")


def source(name: str, count: int) -> str:
    return jsonl({"prompt": f"{name} {number}", "completion": f"yes {number}"} for number in range(count))


def used(dataset: Any) -> Counter[str]:
    return Counter(row.source for row in dataset.examples("train"))


def test_sources_stand_in_the_proportion_of_their_weights(run: Any) -> None:
    sources = [{"path": "a.jsonl", "weight": 3.0}, {"path": "b.jsonl", "weight": 1.0}]
    dataset = run({"a.jsonl": source("a", 60), "b.jsonl": source("b", 60)}, sources=sources, max_drop_rate=0.0)
    assert used(dataset) == {"a.jsonl": 60, "b.jsonl": 20}
    assert [(drop.reason, drop.rows) for drop in dataset.manifest.ledger.drops] == [("not_sampled", 40)]
    assert dataset.manifest.ledger.sources["b.jsonl"].rows_used == 20


def test_general_data_has_its_share(run: Any) -> None:
    sources = [{"path": "a.jsonl"}, {"path": "b.jsonl", "general": True}]
    files = {"a.jsonl": source("a", 60), "b.jsonl": source("b", 60)}
    dataset = run(files, sources=sources, mix={"general": 0.25})
    assert used(dataset) == {"a.jsonl": 60, "b.jsonl": 20}


def test_too_little_general_data_is_not_taken_for_its_share(run: Any) -> None:
    sources = [{"path": "a.jsonl"}, {"path": "b.jsonl", "general": True}]
    files = {"a.jsonl": source("a", 60), "b.jsonl": source("b", 5)}
    with pytest.raises(DataError, match=r"5 general .* beside 60 others are a share of 0.077, not 0.25") as caught:
        run(files, sources=sources, mix={"general": 0.25})
    assert "20 are needed" in (caught.value.problems[0].fix or "")
    assert "keep 15 others (at_most)" in (caught.value.problems[0].fix or "")


def test_a_source_gives_at_most_so_many_rows(run: Any) -> None:
    sources = [{"path": "a.jsonl", "at_most": 10}, {"path": "b.jsonl"}]
    files = {"a.jsonl": source("a", 60), "b.jsonl": source("b", 5)}
    dataset = run(files, sources=sources, max_drop_rate=0.0)
    assert used(dataset) == {"a.jsonl": 10, "b.jsonl": 5}
    wider = run(files, sources=[{"path": "a.jsonl", "at_most": 20}, {"path": "b.jsonl"}])
    assert {row.id for row in dataset.examples("train")} < {row.id for row in wider.examples("train")}


def classes() -> str:
    return jsonl({"prompt": f"q {number}", "completion": "often" if number % 10 else "rare"} for number in range(100))


def test_subsets_are_nested_and_keep_the_classes(run: Any) -> None:
    taken = []
    for share in (0.1, 0.25, 0.5, 1.0):
        dataset = run({"a.jsonl": classes()}, mix={"subset": share}, split={"validation": 0, "test": 0.2})
        rows = dataset.examples("train")
        assert Counter(row.conversation.reference for row in rows)["rare"] == -(-8 * share // 1)
        taken.append(({row.id for row in rows}, {row.id for row in dataset.examples("test")}))
    assert [len(train) for train, _ in taken] == [9, 20, 40, 80]  # ceil(8 * share) + ceil(72 * share)
    assert all(small[0] < large[0] and small[1] == large[1] for small, large in pairwise(taken))


def test_rare_classes_are_repeated_in_training_only(run: Any) -> None:
    dataset = run({"a.jsonl": classes()}, mix={"oversample": 0.5}, split={"validation": 0, "test": 0.2})
    manifest = dataset.manifest
    assert manifest.splits["train"].labels == {"often": 72, "rare": 36}
    assert manifest.splits["test"].labels == {"often": 18, "rare": 2}
    assert manifest.ledger.rows_used == 100
    assert manifest.ledger.rows_repeated == 28
    assert manifest.ledger.tokens_repeated == 28 * 3
    with pytest.raises(DataError, match="there are no classes to balance"):
        run({"b.jsonl": source("b", 20)}, mix={"oversample": 0.5})


def test_short_rows_come_first_and_the_plan_keeps_their_order(run: Any) -> None:
    rows = jsonl({"prompt": "w " * (1 + number * 7 % 11), "completion": "x"} for number in range(11))
    dataset = run({"a.jsonl": rows}, mix={"order": "length"}, deduplicate="off")
    sizes = [row.sizes[0] for row in dataset.examples("train")]
    assert sizes == list(range(2, 13))
    assert dataset.manifest.ordered
    from tunesmith.train.plan import TrainingPlan

    plan = TrainingPlan(11, 4, 2, 0, dataset.manifest.ordered)
    assert [plan.indices(step) for step in range(6)] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10)] * 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sources": [{"path": "a", "weight": 1.0}, {"path": "b"}]}, "give every training source one"),
        ({"sources": [{"path": "a"}], "mix": {"general": 0.2}}, "need each other"),
        ({"sources": [{"path": "a", "general": True}]}, "need each other"),
        ({"sources": [{"path": "a", "split": "test", "weight": 1.0}]}, "gives no training rows"),
        ({"sources": [{"path": "a"}], "mix": {"order": "loss"}}, "'shuffled' or 'length'"),
        ({"sources": [{"path": "a"}], "split": {"time": {"field": "day"}, "stratify": "yes"}}, "cannot be stratified"),
        ({"sources": [{"path": "a"}], "split": {"time": {"field": "d"}, "test": 0, "validation": 0}}, "no effect"),
    ],
)
def test_what_would_have_no_effect_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PrepareSpec.model_validate(fields)


def long_row() -> str:
    words = " ".join(f"w{number}" for number in range(40))
    long = {"prompt": f"BEGIN {words} END", "completion": "the whole answer"}
    return jsonl([long, {"prompt": "a", "completion": "b"}])


def test_long_context_is_cut_in_its_middle(run: Any) -> None:
    dataset = run({"a.jsonl": long_row()}, max_tokens=15, too_long="truncate")
    cut, short = dataset.examples("train")
    text = cut.conversation.messages[0].content
    assert text.startswith("BEGIN w0")
    assert text.endswith("w39 END")
    assert "[...]" in text
    assert cut.conversation.reference == "the whole answer"
    assert cut.sizes == (15,)
    assert short.conversation.messages[0].content == "a"
    (found,) = dataset.findings()
    assert (found.step, found.kind, found.line, found.place) == ("length", "truncated", 1, "train")


def test_long_answers_are_dropped_or_refused(run: Any) -> None:
    answer = jsonl([{"prompt": "short enough", "completion": "x " * 30}, {"prompt": "a", "completion": "b"}])
    dataset = run({"a.jsonl": answer}, max_tokens=15, too_long="truncate")
    assert [(drop.reason, drop.rows) for drop in dataset.manifest.ledger.drops] == [("too_long", 1)]
    with pytest.raises(DataError, match=r"a\.jsonl:1: messages: has 45 tokens; prepare\.max_tokens is 15"):
        run({"a.jsonl": long_row()}, max_tokens=15, too_long="refuse")
