"""Near duplicates against brute force: every pair compared as sets of substrings, in plain Python."""

from __future__ import annotations

import csv
import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunesmith.prepare.minhash import PERMUTATIONS, MinHash, agreement, band_keys, rows_per_band
from tunesmith.prepare.near import candidate_pairs
from tunesmith.prepare.shingles import jaccard, shingles
from tunesmith.prepare.steps.near_duplicates import NearDuplicates

DATA = Path(__file__).parents[5] / "shared" / "data"
WORDS = ("card", "payment", "account", "transfer", "balance", "charge", "refund", "limit", "app", "cash", "rate", "pin")


def pieces(text: str, size: int = 5) -> set[str]:
    """The shingles as Python sets make them."""
    text = " ".join(text.casefold().split())
    return {text[start : start + size] for start in range(max(len(text) - size + 1, 1))}


def plain_jaccard(one: str, other: str) -> float:
    first, second = pieces(one), pieces(other)
    return len(first & second) / len(first | second)


def variants(count: int) -> list[str]:
    """Sentences, a third of them earlier ones with some words changed."""
    random_ = random.Random(7)
    texts: list[str] = []
    for _ in range(count):
        if texts and random_.random() < 0.35:
            words = random_.choice(texts).split()
            for _ in range(random_.randint(0, 4)):
                words[random_.randrange(len(words))] = random_.choice(WORDS)
        else:
            words = [f"{random_.choice(WORDS)}{random_.randrange(60)}" for _ in range(30)]
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize("text", ["", "a", "Hello", "Hello  WORLD again", "naïve café " * 9, "日本語のテキストです"])
@pytest.mark.parametrize("other", ["", "hello world", "Hello world again", "日本語のテキスト"])
def test_shingles_are_substrings(text: str, other: str) -> None:
    if text and other:
        found = jaccard(shingles(text, "characters", 5), shingles(other, "characters", 5))
        assert found == pytest.approx(plain_jaccard(text, other))
    assert len(shingles(text, "characters", 5)) == (len(pieces(text)) if text else 0)


def test_shingles_of_words() -> None:
    one, other = shingles("a b c d e", "words", 2), shingles("a b c x e", "words", 2)
    assert jaccard(one, other) == pytest.approx(2 / 6)  # ab bc cd de, ab bc cx xe


def test_the_estimate_is_unbiased_and_as_exact_as_theory_says() -> None:
    minhash, errors, expected = MinHash(), [], []
    for one, other in itertools.pairwise(variants(400)):
        mixed = f"{one} {other[: len(other) // 2]}"
        first, second = shingles(one, "characters", 5), shingles(mixed, "characters", 5)
        truth = jaccard(first, second)
        errors.append(np.mean(minhash.signature(first) == minhash.signature(second)) - truth)
        expected.append(truth * (1 - truth) / PERMUTATIONS)
    assert abs(np.mean(errors)) < 0.01
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.sqrt(np.mean(expected)), rel=0.15)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_make_pairs_at_the_threshold_meet(threshold: float) -> None:
    rows = rows_per_band(threshold)
    meet = 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows)
    assert meet >= 0.99
    assert len(list(band_keys(np.zeros((2, PERMUTATIONS), dtype=np.uint16), rows))) == PERMUTATIONS // rows


def test_pairs_are_those_with_a_key_in_common() -> None:
    keys = [np.array([1, 2, 1, 3], dtype=np.uint64), np.array([9, 9, 8, 7], dtype=np.uint64)]
    pairs = candidate_pairs(keys, 4)
    assert list(zip(pairs.earlier.tolist(), pairs.later.tolist(), strict=True)) == [(0, 1), (0, 2)]
    assert agreement(np.array([[1, 2], [1, 3]], dtype=np.uint16), np.array([0]), np.array([1])).tolist() == [
        1 / PERMUTATIONS
    ]


@pytest.mark.parametrize("threshold", [0.6, 0.8])
def test_verdicts_against_brute_force(threshold: float, row: Any, judged: Any) -> None:
    """Every dropped row repeats the kept one it names; of what should be dropped, 99% is."""
    texts = variants(800)
    judgement = judged(NearDuplicates(threshold=threshold), [row(text, "ok") for text in texts])
    full = [f"{text}\nok" for text in texts]
    sets = [pieces(text) for text in full]
    for index in judgement.reasons:
        said = judgement.findings[index][0]
        similarity, place = said.detail.split(" like a.csv:")
        kept = int(place) - 1
        truth = len(sets[index] & sets[kept]) / len(sets[index] | sets[kept])
        assert kept not in judgement.reasons
        assert truth >= threshold - 1e-9
        assert float(similarity) == pytest.approx(truth, abs=0.006)
    left = [index for index in range(len(texts)) if index not in judgement.reasons]
    missed = [
        (one, other)
        for one, other in itertools.combinations(left, 2)
        if len(sets[one] & sets[other]) >= threshold * len(sets[one] | sets[other])
    ]
    assert len(judgement.reasons) > 100
    assert len(missed) <= 0.01 * len(judgement.reasons)


def test_reported_groups_are_the_linked_rows_of_brute_force(row: Any, judged: Any) -> None:
    texts = variants(400)
    judgement = judged(NearDuplicates(threshold=0.7, action="report"), [row(text, "ok") for text in texts])
    sets = [pieces(f"{text}\nok") for text in texts]
    parent = list(range(len(texts)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for one, other in itertools.combinations(range(len(texts)), 2):
        if len(sets[one] & sets[other]) >= 0.7 * len(sets[one] | sets[other]):
            parent[root(other)] = root(one)
    wanted = {frozenset(i for i in range(len(parent)) if root(i) == top) for top in map(root, parent)}
    found = {frozenset(np.flatnonzero(judgement.groups == group).tolist()) for group in set(judgement.groups.tolist())}
    assert not judgement.reasons
    named = [(index, each.detail) for index, said in judgement.findings.items() for each in said]
    named = [(index, detail) for index, detail in named if " like " in detail]
    for index, detail in named:  # as measured, with the row it names
        similarity, place = detail.split(" like a.csv:")
        other = int(place) - 1
        assert other < index
        assert float(similarity) == pytest.approx(
            len(sets[index] & sets[other]) / len(sets[index] | sets[other]), abs=0.006
        )
    assert len(named) > 50
    assert len(found ^ wanted) <= 0.01 * len(wanted)


def test_the_evaluation_side_is_kept(row: Any, judged: Any) -> None:
    near = "How do I activate my new payment card please, it just arrived"
    texts = (near, near.upper() + "!", "something else entirely different", near)
    rows = [row(text, "x") for text in texts]
    judgement = judged(NearDuplicates(), rows, ["train", "test", "train", "validation"])
    assert judgement.reasons == {0: "near_duplicate_of_test", 3: "near_duplicate_of_test"}
    assert judgement.findings[1][0] == ("near_duplicate_cluster", "3 rows: this one, a.csv:4, a.csv:1")
    assert judgement.groups[0] == judgement.groups[1] == judgement.groups[3] != judgement.groups[2]


def test_shared_system_prompts_make_nothing_alike_and_empty_rows_are_left_alone(row: Any, judged: Any) -> None:
    system = "You are a helpful assistant of a large bank. " * 10
    rows = [row("where is my card", "a", system), row("what is the rate", "b", system)]
    assert not judged(NearDuplicates(), rows).reasons
    asked = NearDuplicates(of="answer")
    assert judged(asked, [row("one", "the same answer"), row("two", "The same  answer")]).reasons == {
        1: "near_duplicate"
    }


def test_many_equal_rows_are_one_cluster_without_reading_them(row: Any, judged: Any) -> None:
    judgement = judged(NearDuplicates(), [row("the very same question", "yes")] * 500 + [row("another one", "no")])
    assert sorted(judgement.reasons) == list(range(1, 500))
    assert judgement.findings[0][0].detail.startswith("500 rows: this one, a.csv:2,")


def test_long_buckets_are_still_one_cluster(row: Any, judged: Any) -> None:
    """More variants of one row than a bucket pairs up directly."""
    base = " ".join(f"word{index}" for index in range(60))
    rows = [row(f"{base} number{index:03}", "yes") for index in range(300)]
    assert len(judged(NearDuplicates(), rows).reasons) == 299
    assert len(set(judged(NearDuplicates(action="report"), rows).groups.tolist())) == 1


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not beside the repository")
def test_banking_questions(row: Any, judged: Any) -> None:
    """Real questions: what is dropped at 0.8 is what brute force finds, but for at most 1%."""
    with next((DATA / "banking77").glob("*train*.csv")).open(encoding="utf-8", newline="") as stream:
        texts = [entry["text"] for entry in csv.DictReader(stream)][:1000]
    judgement = judged(NearDuplicates(threshold=0.7), [row(text, "x") for text in texts])
    sets = [pieces(f"{text}\nx") for text in texts]
    alike = {
        other
        for one, other in itertools.combinations(range(len(texts)), 2)
        if len(sets[one] & sets[other]) >= 0.7 * len(sets[one] | sets[other])
    }
    assert set(judgement.reasons) <= alike
    assert len(judgement.reasons) > 5
