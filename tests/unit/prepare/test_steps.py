"""De-duplication, length, labels and splits."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tunesmith.errors import DataError
from tunesmith.prepare.candidate import Candidate
from tunesmith.prepare.content import answer_key, normalised, prompt_key
from tunesmith.prepare.dedupe import drop_duplicates
from tunesmith.prepare.labels import expand_system, find_labels, shared_system, with_system
from tunesmith.prepare.ledger import drop_rate, make_ledger, shown
from tunesmith.prepare.length import drop_too_long
from tunesmith.prepare.split import assign_splits
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.dataset import Example
from tunesmith.types.recipe import SplitSpec


def row(prompt: str, answer: str, split: str = "auto", line: int = 1, tokens: int = 4) -> Candidate:
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    conversation = Conversation(messages=messages, metadata={"line": str(line)})
    example = Example(id=conversation.content_digest()[:16], source="a.csv", line=line, content=conversation)
    return Candidate(example, split, (tokens,))  # type: ignore[arg-type]  # the literals are given as text


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


def test_duplicates_within_a_split_keep_the_first() -> None:
    rows = [row("Hi", "x", line=1), row("hi ", "X", line=2), row("other", "x", line=3), row("Hi", "x", line=4)]
    kept, dropped = drop_duplicates(rows, "normalised")
    assert [each.example.line for each in kept] == [1, 3]
    assert [(each.candidate.example.line, each.reason) for each in dropped] == [(2, "duplicate"), (4, "duplicate")]
    exact = drop_duplicates(rows, "exact")
    assert [each.example.line for each in exact.kept] == [1, 2, 3]
    assert drop_duplicates(rows, "off").kept == tuple(rows)


def test_conflicting_answers_keep_the_first() -> None:
    kept, dropped = drop_duplicates([row("Hi", "yes", line=1), row("hi", "no", line=2)], "normalised")
    assert [each.example.line for each in kept] == [1]
    assert [each.reason for each in dropped] == ["conflicting_answer"]


def test_across_splits_test_wins_over_validation_over_auto_over_train() -> None:
    rows = [
        row("p", "x", "train", 1), row("p", "x", "auto", 2), row("p", "x", "validation", 3), row("p", "x", "test", 4),
        row("q", "x", "train", 5), row("q", "x", "validation", 6),
        row("r", "x", "train", 7), row("r", "x", "auto", 8),
        row("s", "x", "train", 9), row("s", "y", "test", 10),
    ]  # fmt: skip
    kept, dropped = drop_duplicates(rows, "normalised")
    assert [each.example.line for each in kept] == [4, 6, 8, 10]
    assert {each.candidate.example.line: each.reason for each in dropped} == {
        1: "duplicate_of_test", 2: "duplicate_of_test", 3: "duplicate_of_test",
        5: "duplicate_of_validation", 7: "duplicate", 9: "conflicting_answer",
    }  # fmt: skip


def test_too_long_rows_are_dropped_whole() -> None:
    kept, dropped = drop_too_long([row("a", "b", tokens=8), row("c", "d", tokens=9)], 8)
    assert [each.tokens for each in kept] == [8]
    assert [(each.candidate.tokens, each.reason) for each in dropped] == [(9, "too_long")]


def test_ledger_counts_and_places() -> None:
    used = [row("a", "b", tokens=5)]
    gone = drop_too_long([row(str(line), "x", line=line, tokens=9) for line in range(1, 8)], 8).dropped
    twice = drop_duplicates([row("a", "b", line=8), row("a", "b", line=9)], "exact").dropped
    ledger = make_ledger(9, 5 + 7 * 9 + 4, used, [*twice, *gone])
    assert [(drop.reason, drop.rows, drop.tokens) for drop in ledger.drops] == [
        ("too_long", 7, 63),
        ("duplicate", 1, 4),
    ]
    assert ledger.drops[0].where == tuple(f"a.csv:{line}" for line in range(1, 6))
    assert drop_rate(ledger) == pytest.approx(7 / 9)  # the duplicate does not count
    assert "too_long: a.csv:1, a.csv:2, a.csv:3, a.csv:4, a.csv:5, ..." in shown(ledger)


def test_a_ledger_that_does_not_balance_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="does not balance"):
        make_ledger(2, 5, [row("a", "b", tokens=5)], [])


def classification(count: int = 200) -> list[Candidate]:
    """`count` rows of four labels in the proportion 4 : 3 : 2 : 1."""
    labels = "aaaabbbccd"
    return [row(f"question {number}", labels[number % 10], line=number) for number in range(count)]


def placed(rows: tuple[Candidate, ...]) -> dict[str, str]:
    return {each.example.conversation.messages[0].content or "": each.split for each in rows}


def test_split_is_stratified_and_has_the_wanted_size() -> None:
    rows = assign_splits(classification(), SplitSpec(validation=0.1, test=0.2), classification=True)
    assert Counter(each.split for each in rows) == {"train": 140, "test": 40, "validation": 20}
    labels = Counter((each.split, each.example.conversation.reference) for each in rows)
    assert [labels["test", label] for label in "abcd"] == [16, 12, 8, 4]
    assert [labels["validation", label] for label in "abcd"] == [8, 6, 4, 2]


def test_split_depends_on_content_and_seed_not_on_order() -> None:
    rows = classification()
    shuffled = random.Random(1).sample(rows, len(rows))
    for spec in (SplitSpec(), SplitSpec(stratify="no"), SplitSpec(seed=3, stratify="yes")):
        first = placed(assign_splits(rows, spec, classification=True))
        assert placed(assign_splits(shuffled, spec, classification=True)) == first
    assert placed(assign_splits(rows, SplitSpec(seed=1), classification=True)) != placed(
        assign_splits(rows, SplitSpec(seed=2), classification=True)
    )


def test_equal_prompts_never_straddle_a_split() -> None:
    rows = [row(f"{'Q' if answer else 'q'} {number}", str(answer)) for number in range(50) for answer in range(3)]
    for seed in range(5):
        split = assign_splits(rows, SplitSpec(validation=0.2, test=0.2, seed=seed), classification=False)
        places: dict[str, set[str]] = {}
        for each in split:
            places.setdefault(prompt_key(each.example.conversation), set()).add(each.split)
        assert all(len(found) == 1 for found in places.values())
        assert set(Counter(each.split for each in split)) == {"train", "validation", "test"}


def test_fixed_splits_stay_and_rare_labels_stay_in_training() -> None:
    rows = [row("kept", "a", "test"), *classification(20), row("alone", "rare")]
    split = placed(assign_splits(rows, SplitSpec(validation=0.3, test=0.3), classification=True))
    assert split["kept"] == "test"
    assert split["alone"] == "train"


def test_small_sets_still_fill_the_splits() -> None:
    rows = [row(f"q{number}", f"a{number}") for number in range(4)]
    split = assign_splits(rows, SplitSpec(validation=0.1, test=0.1), classification=False)
    assert Counter(each.split for each in split) == {"train": 2, "validation": 1, "test": 1}
    whole = assign_splits(rows, SplitSpec(validation=0, test=0), classification=False)
    assert Counter(each.split for each in whole) == {"train": 4}


def test_labels_are_few_repeated_answers() -> None:
    assert find_labels(["b", "a", "b", "a"]) == ("a", "b")
    assert find_labels(["a", "b", "c"]) == ()  # nothing repeats
    assert find_labels(["a"] * 9) == ()  # one answer is no classification
    assert find_labels(["a", "", "a", ""]) == ()
    assert find_labels([str(number) for number in range(201)] * 2) == ()
    assert len(find_labels([str(number) for number in range(200)] * 2)) == 200


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
    assert shared_system([opened, opened]) == "new"
    assert shared_system([opened, plain]) is None
