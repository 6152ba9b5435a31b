"""De-duplication, length, labels and splits."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tunesmith.errors import DataError
from tunesmith.prepare.classes import find_classes
from tunesmith.prepare.content import answer_key, normalised, prompt_key
from tunesmith.prepare.dedupe import drop_duplicates
from tunesmith.prepare.labels import are_labels, expand_system, with_system
from tunesmith.prepare.ledger import drop_rate, make_ledger, shown
from tunesmith.prepare.record import PLACES, RECORD, Keys, record_of
from tunesmith.prepare.rows import Rows
from tunesmith.prepare.split import assign_splits
from tunesmith.types.conversation import Conversation, Message, Rendered
from tunesmith.types.dataset import Account, Example, Ledger
from tunesmith.types.recipe import SplitSpec

ALL = np.zeros(0, np.int64)


class Given(NamedTuple):
    """A row that a test writes."""

    example: Example
    split: str
    tokens: int


def row(prompt: str, answer: str, split: str = "auto", line: int = 1, tokens: int = 4) -> Given:
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    conversation = Conversation(messages=messages, metadata={"line": str(line)})
    example = Example(id=conversation.content_digest()[:16], source="a.csv", line=line, content=conversation)
    return Given(example, split, tokens)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Callable[..., Rows]]:
    """The rows as prepare keeps them; `exact` is how they are compared."""
    with ExitStack() as opened:

        def made(given: Sequence[Given], *, exact: bool = False) -> Rows:
            folder = Path(tempfile.mkdtemp(dir=tmp_path))
            rows = opened.enter_context(closing(Rows(folder, ["a.csv"])))
            rows.lines.extend(each.example.model_dump_json().encode() + b"\n" for each in given)
            rows.read = [len(given)]
            rendered = [
                [Rendered(token_ids=(1,) * each.tokens, loss_weights=(1.0,) * each.tokens, spans=())] for each in given
            ]
            keys = Keys(exact, None, None)
            rows.records = np.array(
                [
                    (0, each.example.line, 0, PLACES.index(each.split), 0, -1)  # type: ignore[arg-type]
                    + record_of(each.example.content, tokens, keys)
                    for each, tokens in zip(given, rendered, strict=True)
                ],
                dtype=RECORD,
            )
            return rows

        yield made


def lines(rows: Rows) -> list[int]:
    """Lines of the rows that are kept."""
    return rows.records["line"][rows.kept].tolist()


def reasons(rows: Rows) -> dict[int, str]:
    """Why each dropped line was dropped."""
    return {int(rows.records["line"][index]): rows.reason(index) for index in np.flatnonzero(~rows.kept).tolist()}


def test_normalised_is_nfkc_case_folded_and_collapsed() -> None:
    assert normalised("  STRASSE\tﬁve\u00a0 \n") == "strasse five"
    assert normalised("Straße") == "strasse"


def test_keys_ignore_metadata_but_not_tools_roles_or_weights() -> None:
    base = row("a", "b").example.conversation
    assert prompt_key(base) == prompt_key(row("A ", "c", line=9).example.conversation)
    assert prompt_key(base, exact=True) != prompt_key(row("A ", "c").example.conversation, exact=True)
    with_tools = base.model_copy(update={"tools": ({"type": "function"},)})
    assert prompt_key(base) != prompt_key(with_tools)
    unweighted = base.model_copy(
        update={"messages": (base.messages[0], Message(role="assistant", content="b", weight=0))}
    )
    assert answer_key(base) != answer_key(unweighted)


def test_duplicates_within_a_split_keep_the_first(table: Any) -> None:
    given = [row("Hi", "x", line=1), row("hi ", "X", line=2), row("other", "x", line=3), row("Hi", "x", line=4)]
    rows = table(given)
    drop_duplicates(rows)
    assert lines(rows) == [1, 3]
    assert reasons(rows) == {2: "duplicate", 4: "duplicate"}
    assert rows.records["of"].tolist() == [-1, 0, -1, 0]
    exact = table(given, exact=True)
    drop_duplicates(exact)
    assert lines(exact) == [1, 2, 3]


def test_conflicting_answers_keep_the_first(table: Any) -> None:
    rows = table([row("Hi", "yes", line=1), row("hi", "no", line=2)])
    drop_duplicates(rows)
    assert lines(rows) == [1]
    assert reasons(rows) == {2: "conflicting_answer"}


def test_across_splits_test_wins_over_validation_over_auto_over_train(table: Any) -> None:
    rows = table([
        row("p", "x", "train", 1), row("p", "x", "auto", 2), row("p", "x", "validation", 3), row("p", "x", "test", 4),
        row("q", "x", "train", 5), row("q", "x", "validation", 6),
        row("r", "x", "train", 7), row("r", "x", "auto", 8),
        row("s", "x", "train", 9), row("s", "y", "test", 10),
    ])  # fmt: skip
    drop_duplicates(rows)
    assert lines(rows) == [4, 6, 8, 10]
    assert reasons(rows) == {
        1: "duplicate_of_test", 2: "duplicate_of_test", 3: "duplicate_of_test",
        5: "duplicate_of_validation", 7: "duplicate", 9: "conflicting_answer",
    }  # fmt: skip


def test_ledger_counts_and_places(table: Any) -> None:
    long = [row(str(line), "x", line=line, tokens=9) for line in range(1, 8)]
    rows = table([*long, row("a", "b", line=8, tokens=5), row("a", "b", line=9, tokens=4)])
    rows.drop(np.arange(7), "too_long")
    drop_duplicates(rows)
    rows.records["split"][7] = PLACES.index("train")
    ledger = make_ledger(rows, np.array([7, 7, 7]))
    assert [(drop.reason, drop.rows, drop.tokens) for drop in ledger.drops] == [
        ("too_long", 7, 63),
        ("duplicate", 1, 4),
    ]
    assert (ledger.rows_in, ledger.rows_used, ledger.tokens_in, ledger.tokens_used) == (9, 1, 72, 5)
    assert (ledger.rows_repeated, ledger.tokens_repeated) == (2, 10)
    assert ledger.drops[0].where == tuple(f"a.csv:{line}" for line in range(1, 6))
    assert drop_rate(ledger) == pytest.approx(7 / 9)  # the duplicate does not count
    assert "too_long: a.csv:1, a.csv:2, a.csv:3, a.csv:4, a.csv:5, ..." in shown(ledger)
    assert ledger.sources["a.csv"].drops == ledger.drops
    assert {name: (part.rows_in, part.rows_used) for name, part in ledger.splits.items()} == {
        "train": (1, 1),
        "undivided": (8, 0),
    }


def test_a_ledger_that_does_not_balance_cannot_be_made(table: Any) -> None:
    rows = table([row("a", "b", tokens=5)])
    rows.read = [2]
    with pytest.raises(ValueError, match="rows 2 in, 1 accounted for"):
        make_ledger(rows, ALL)
    account = Account(rows_in=1, rows_used=1, tokens_in=5, tokens_used=5)
    with pytest.raises(ValueError, match="rows_in of all sources is 1, not 2"):
        Ledger(rows_in=2, rows_used=2, tokens_in=5, tokens_used=5, sources={"a": account})


def classification(count: int = 200) -> list[Given]:
    """`count` rows of four labels in the proportion 4 : 3 : 2 : 1."""
    labels = "aaaabbbccd"
    return [row(f"question {number}", labels[number % 10], line=number) for number in range(count)]


@pytest.fixture
def split(table: Any) -> Callable[..., list[tuple[Example, str]]]:
    """Each row with the split it gets."""

    def done(given: Sequence[Given], spec: SplitSpec, *, labelled: bool) -> list[tuple[Example, str]]:
        rows = table(given)
        assign_splits(rows, spec, classification=labelled)
        return [(each.example, PLACES[code]) for each, code in zip(given, rows.records["split"], strict=True)]

    return done


def placed(rows: list[tuple[Example, str]]) -> dict[str, str]:
    return {example.conversation.messages[0].content or "": place for example, place in rows}


def test_split_is_stratified_and_has_the_wanted_size(split: Any) -> None:
    rows = split(classification(), SplitSpec(validation=0.1, test=0.2), labelled=True)
    assert Counter(place for _, place in rows) == {"train": 140, "test": 40, "validation": 20}
    labels = Counter((place, example.conversation.reference) for example, place in rows)
    assert [labels["test", label] for label in "abcd"] == [16, 12, 8, 4]
    assert [labels["validation", label] for label in "abcd"] == [8, 6, 4, 2]


def test_split_depends_on_content_and_seed_not_on_order(split: Any) -> None:
    rows = classification()
    shuffled = random.Random(1).sample(rows, len(rows))
    for spec in (SplitSpec(), SplitSpec(stratify="no"), SplitSpec(seed=3, stratify="yes")):
        assert placed(split(shuffled, spec, labelled=True)) == placed(split(rows, spec, labelled=True))
    first, second = (placed(split(rows, SplitSpec(seed=seed), labelled=True)) for seed in (1, 2))
    assert first != second


def test_equal_prompts_never_straddle_a_split(split: Any) -> None:
    rows = [row(f"{'Q' if answer else 'q'} {number}", str(answer)) for number in range(50) for answer in range(3)]
    for seed in range(5):
        done = split(rows, SplitSpec(validation=0.2, test=0.2, seed=seed), labelled=False)
        places: dict[str, set[str]] = {}
        for example, place in done:
            places.setdefault(prompt_key(example.conversation), set()).add(place)
        assert all(len(found) == 1 for found in places.values())
        assert {place for _, place in done} == {"train", "validation", "test"}


def test_fixed_splits_stay_and_rare_labels_stay_in_training(split: Any) -> None:
    rows = [row("kept", "a", "test"), *classification(20), row("alone", "rare")]
    done = placed(split(rows, SplitSpec(validation=0.3, test=0.3), labelled=True))
    assert done["kept"] == "test"
    assert done["alone"] == "train"


def test_rows_follow_a_fixed_row_of_their_group(split: Any) -> None:
    rows = [row("Kept", "a", "test"), row("kept", "b"), *classification(20)]
    for seed in range(5):
        done = split(rows, SplitSpec(validation=0.3, test=0.3, seed=seed), labelled=False)
        assert done[1][1] == "test"


def test_small_sets_still_fill_the_splits(split: Any) -> None:
    rows = [row(f"q{number}", f"a{number}") for number in range(4)]
    done = split(rows, SplitSpec(validation=0.1, test=0.1), labelled=False)
    assert Counter(place for _, place in done) == {"train": 2, "validation": 1, "test": 1}
    whole = split(rows, SplitSpec(validation=0, test=0), labelled=False)
    assert Counter(place for _, place in whole) == {"train": 4}


def test_labels_are_few_repeated_answers(table: Any) -> None:
    def names(answers: Sequence[str]) -> tuple[str, ...]:
        rows = table([row(f"q{number}", answer) for number, answer in enumerate(answers)])
        return find_classes(rows, np.arange(len(rows))).names

    assert names(["b", "a", "b", "a"]) == ("a", "b")
    assert names(["a", "b", "c"]) == ()  # nothing repeats
    assert names(["a"] * 9) == ()  # one answer is no classification
    assert names(["a", "", "a", ""]) == ()
    assert not are_labels(201, 402)
    assert len(names([str(number) for number in range(200)] * 2)) == 200


def test_system_prompt_lists_the_labels_and_leaves_other_braces() -> None:
    assert expand_system("One of: {labels}. As {json}", ("a", "b"), 2) == "One of: a, b. As {json}"
    assert expand_system("Be kind {", (), 9) == "Be kind {"
    with pytest.raises(DataError, match="2 to 200 distinct answers that repeat; there are 9"):
        expand_system("{labels}", (), 9)


def test_system_prompt_replaces_or_is_put_in_front() -> None:
    plain = row("a", "b").example.conversation
    opened = with_system(plain, "new")
    assert [message.content for message in opened.messages] == ["new", "a", "b"]
    assert [message.content for message in with_system(opened, "newer").messages] == ["newer", "a", "b"]
    assert with_system(plain, None) is plain
