"""One recipe for each family of data on public files, its ledger against counts that this test makes itself.

The counts know nothing of Tunesmith: files are read with csv and json, texts compared after NFKC, case folding and
white-space collapse, and a token is a word (the renderer here counts words). Skipped where the files are absent.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.unit.prepare.conftest import WordRenderer
from tunesmith.prepare.stage import prepare
from tunesmith.recipes import load_recipe
from tunesmith.store.datasets import StoredDataset

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
EXAMPLES = ROOT / "examples" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not beside the repository")


class Raw(NamedTuple):
    """A row as its file has it: what is asked and answered, words of each sequence, whether it is for the test."""

    asked: tuple[str, ...]
    answer: object
    words: tuple[int, ...]
    test: bool = False


def lines(path: str) -> Iterator[Any]:
    return (json.loads(line) for line in (DATA / path).read_text(encoding="utf-8").splitlines() if line.strip())


def whole(path: str) -> Any:
    return json.loads((DATA / path).read_text(encoding="utf-8"))


def table(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


def count(*texts: str | None) -> int:
    return sum(len((text or "").split()) for text in texts)


def pair(asked: str, answer: str, system: str = "", *, test: bool = False) -> Raw:
    return Raw((asked,), answer, (count(system, asked, answer),), test)


def turns(messages: list[dict[str, Any]], *, test: bool = False) -> Raw:
    """A conversation in OpenAI's form; the last assistant message is the answer."""
    last = max(place for place, message in enumerate(messages) if message["role"] == "assistant")
    asked = tuple(f"{each['role']} {each.get('content')} {each.get('tool_calls')}" for each in messages[:last])
    words = count(*(message.get("content") for message in messages))
    return Raw(asked, [(each.get("content"), each.get("tool_calls")) for each in messages[last:]], (words,), test)


def chat(folder: str, training: str, test: str) -> Iterator[Raw]:
    yield from (turns(row["messages"]) for row in lines(f"{folder}/{training}"))
    yield from (turns(row["messages"], test=True) for row in lines(f"{folder}/{test}"))


def preferences() -> Iterator[Raw]:
    for row in lines("azure_finetuning/dpo_orca_validation.jsonl"):
        asked = [message["content"] for message in row["input"]["messages"]]
        better, worse = (row[side][0]["content"] for side in ("preferred_output", "non_preferred_output"))
        answers = (count(*asked, better), count(*asked, worse))
        yield Raw((*asked, *sorted((better, worse))), better, answers)


def sharegpt() -> Iterator[Raw]:
    roles = {"human": "user", "gpt": "assistant"}
    for row in whole("mt_bench/dummy_conversation.json"):
        yield turns([{"role": roles[turn["from"]], "content": turn["value"]} for turn in row["conversations"]])


def instructions() -> Iterator[Raw]:
    for task in lines("self_instruct/seed_tasks.jsonl"):
        (instance,) = task["instances"]
        yield pair(f"{task['instruction']}\n\n{instance['input']}", instance["output"])


def structured() -> Iterator[Raw]:
    for fold in range(5):
        for row in whole(f"nlupp/banking_fold{fold}.json"):
            answer = json.dumps({"intents": row.get("intents"), "slots": row.get("slots")}, ensure_ascii=False)
            yield pair(row["text"], answer, test=fold == 4)


def functions() -> Iterator[Raw]:
    for name in ("simple_python", "irrelevance"):
        for row in lines(f"bfcl/BFCL_v4_{name}.json"):
            (messages,) = row["question"]
            asked = tuple(message["content"] for message in messages)
            yield Raw((*asked, json.dumps(row["function"])), "", (count(*asked),))


def choices() -> Iterator[Raw]:
    for path in sorted((DATA / "mmlu" / "dev").glob("*.csv")):
        for row in table(path):
            asked = "{question}\nA: {choice0}\nB: {choice1}\nC: {choice2}\nD: {choice3}".format(**row)
            yield pair(asked, row["answer"])


def safety() -> Iterator[Raw]:
    system = "Is this prompt safe to answer? Answer with one of: safe, unsafe"
    return (pair(row["prompt"], row["label"], system) for row in table(DATA / "xstest" / "xstest_prompts.csv"))


def paragraphs() -> Iterator[Raw]:
    text = (DATA / "banking77" / "LICENSE").read_text(encoding="utf-8")
    return (Raw((part,), "", (count(part),)) for part in re.split(r"\n[ \t]*\n", text) if part.strip())


FAMILIES: dict[str, Iterable[Raw]] = {
    "chat": chat("azure_finetuning", "sft_gsm8k_chat_train.jsonl", "sft_gsm8k_chat_validation.jsonl"),
    "tools": chat("azure_finetuning", "sft_stock_toolcall_training.jsonl", "sft_stock_toolcall_validation.jsonl"),
    "instructions": instructions(),
    "qa": (pair(row["question"], row["answer"]) for row in lines("gsm8k/train_first_2500.jsonl")),
    "preferences": preferences(),
    "judged": preferences(),
    "sharegpt": sharegpt(),
    "structured": structured(),
    "functions": functions(),
    "code": (
        pair(row["prompt"], row["canonical_solution"]) for row in lines("mbpp/mbpp_sanitized_for_code_generation.jsonl")
    ),
    "safety": safety(),
    "choices": choices(),
    "personal-data": (pair(row["full_text"], row["masked"]) for row in whole("presidio_pii/generated_small.json")),
    "continued": paragraphs(),
}


def alike(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def expected_drops(rows: list[Raw], max_tokens: int, *, exact: bool) -> Counter[str]:
    """Reasons by hand: too long first; of the rest one row for each prompt stays, that of the test before others."""
    drops: Counter[str] = Counter()
    kept: dict[tuple[str, ...], Raw] = {}
    same = str if exact else alike
    for row in sorted(rows, key=lambda row: not row.test):
        if max(row.words) > max_tokens:
            drops["too_long"] += 1
            continue
        first = kept.setdefault(tuple(map(same, row.asked)), row)
        if first is not row and same(str(first.answer)) != same(str(row.answer)):
            drops["conflicting_answer"] += 1
        elif first is not row:
            drops["duplicate_of_test" if first.test and not row.test else "duplicate"] += 1
    return drops


def prepared(name: str, home: Path) -> StoredDataset:
    path = EXAMPLES / f"{name}.yaml"
    return prepare(load_recipe(path, {}).prepare, renderer=WordRenderer(), base_dir=path.parent, home=home)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_ledger_is_what_csv_and_json_count(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(EXAMPLES / f"{name}.yaml", {}).prepare
    rows = list(FAMILIES[name])
    drops = expected_drops(rows, recipe.max_tokens, exact=recipe.deduplicate == "exact")
    manifest = prepared(name, tmp_path).manifest
    ledger = manifest.ledger
    assert ledger.rows_in == len(rows)
    assert {drop.reason: drop.rows for drop in ledger.drops} == drops
    assert ledger.rows_used == len(rows) - drops.total() == sum(split.rows for split in manifest.splits.values())
    assert ledger.tokens_in == sum(sum(row.words) for row in rows)
    held = sum(row.test for row in rows)
    if held:  # a file of its own is the test, no row of it is lost
        assert manifest.splits["test"].rows == held
    elif recipe.split.by is None:
        assert manifest.splits["test"].rows == max(1, round(ledger.rows_used * recipe.split.test))


def test_every_example_is_tested_here() -> None:
    others = {"intents", "mixture"}
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {*FAMILIES, *others}


def test_banking77_and_its_normalised_duplicates(tmp_path: Path) -> None:
    path = ROOT / "examples" / "banking77.yaml"
    spec = load_recipe(path, {}).prepare
    given = list(table(DATA / "banking77" / "train.csv"))
    system = str(spec.system)
    rows = [pair(row["text"], row["category"], system) for row in given]
    drops = expected_drops(rows, spec.max_tokens, exact=False)
    assert drops["duplicate"] > expected_drops(rows, spec.max_tokens, exact=True)["duplicate"]  # seen only normalised
    manifest = prepare(spec, renderer=WordRenderer(), base_dir=path.parent, home=tmp_path).manifest
    assert {drop.reason: drop.rows for drop in manifest.ledger.drops} == drops
    assert manifest.ledger.tokens_in == sum(row.words[0] for row in rows)
    assert set(manifest.labels) == {row["category"] for row in given}


def test_half_of_each_intent_for_a_learning_curve(tmp_path: Path) -> None:
    rows = whole("clinc150/data_train_val.json")["train"]
    intents = Counter(intent for _, intent in rows)
    assert set(intents.values()) == {100}  # 2 of each for validation, 10 for the test, half of the other 88 to train
    manifest = prepared("intents", tmp_path).manifest
    assert manifest.ledger.rows_in == len(rows)
    assert {drop.reason: drop.rows for drop in manifest.ledger.drops} == {"not_in_subset": 44 * len(intents)}
    assert set(manifest.splits["train"].labels.values()) == {44}
    assert manifest.splits["test"].rows == 10 * len(intents)


def test_a_quarter_of_what_is_trained_is_general(tmp_path: Path) -> None:
    dataset = prepared("mixture", tmp_path)
    sources = Counter(Path(row.source).name for row in dataset.rows("train"))
    assert abs(sources["seed_tasks.jsonl"] / sources.total() - 0.25) < 0.005
    assert dataset.manifest.ledger.rows_in == 2500 + 175
    assert {drop.reason: drop.rows for drop in dataset.manifest.ledger.drops}["over_cap"] == 2500 - 400


def test_no_type_of_prompt_is_in_two_splits(tmp_path: Path) -> None:
    dataset = prepared("safety", tmp_path)
    types = {split: {row.content.metadata["type"] for row in dataset.rows(split)} for split in dataset.manifest.splits}
    assert types["train"].isdisjoint(types["test"])
    assert types["train"] | types["test"] == {row["type"] for row in table(DATA / "xstest" / "xstest_prompts.csv")}


def test_functions_are_read_although_their_suffix_lies(tmp_path: Path) -> None:
    with pytest.raises(json.JSONDecodeError):
        whole("bfcl/BFCL_v4_simple_python.json")  # it is no JSON document
    assert {source.format for source in prepared("functions", tmp_path).manifest.sources} == {"bfcl (jsonl)"}
