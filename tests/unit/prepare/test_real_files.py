"""Public files that nobody on this project wrote; skipped where they are absent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import DataError
from tunesmith.prepare.stage import prepare
from tunesmith.types.recipe import PrepareSpec

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not beside the repository")


def prepared(tmp_path: Path, renderer: Any, path: str, **fields: Any) -> Any:
    source = {"path": path, **fields.pop("source", {})}
    spec = PrepareSpec.model_validate({"sources": [source], "max_tokens": 4096, **fields})
    return prepare(spec, renderer=renderer, base_dir=DATA, home=tmp_path)


def test_banking77(tmp_path: Path, renderer: Any) -> None:
    source = {"columns": {"prompt": "text", "completion": "category"}}
    dataset = prepared(tmp_path, renderer, "banking77/train.csv", source=source, system="One of: {labels}")
    manifest = dataset.manifest
    assert (manifest.ledger.rows_in, manifest.ledger.rows_used) == (10003, 9999)
    assert [(drop.reason, drop.rows) for drop in manifest.ledger.drops] == [("duplicate", 4)]
    assert {name: split.rows for name, split in manifest.splits.items()} == {
        "train": 7999,
        "validation": 1000,
        "test": 1000,
    }
    assert all(len(split.labels) == 77 for split in manifest.splits.values())
    assert max(row.line for row in dataset.examples("train")) > 10004  # cells over several lines move the count


@pytest.mark.parametrize(
    ("path", "rows", "form"),
    [
        ("azure_finetuning/sft_gsm8k_chat_train.jsonl", 449, "chat (jsonl)"),
        ("azure_finetuning/sft_gsm8k_chat_validation.jsonl", 50, "chat (jsonl)"),
        ("azure_finetuning/sft_stock_toolcall_training.jsonl", 86, "chat (jsonl)"),
        ("azure_finetuning/sft_stock_toolcall_validation.jsonl", 10, "chat (jsonl)"),
        ("self_instruct/seed_tasks.jsonl", 175, "instruction (jsonl)"),
        ("azure_finetuning/dpo_orca_validation.jsonl", 284, "preference (jsonl)"),
        ("peer_fixtures/soup_dpo_sample.jsonl", 8, "preference (jsonl)"),
        ("xquad/xquad.en.json", 1190, "qa (json)"),
        ("gsm8k/train_first_2500.jsonl", 2500, "qa (jsonl)"),
        ("bfcl/BFCL_v4_simple_python.json", 400, "bfcl (jsonl)"),
        ("bfcl/BFCL_v4_irrelevance.json", 240, "bfcl (jsonl)"),
        ("xstest/xstest_prompts.csv", 450, "prompts (csv)"),
    ],
)
def test_detected_formats(path: str, rows: int, form: str, tmp_path: Path, renderer: Any) -> None:
    manifest = prepared(tmp_path, renderer, path).manifest
    assert manifest.ledger.rows_in == rows
    assert manifest.sources[0].format == form


def test_gsm8k_with_columns(tmp_path: Path, renderer: Any) -> None:
    source = {"columns": {"prompt": "question", "completion": "answer"}}
    manifest = prepared(tmp_path, renderer, "gsm8k/train_first_2500.jsonl", source=source).manifest
    assert manifest.ledger.rows_used == 2500
    assert manifest.labels == ()


@pytest.mark.parametrize(
    ("path", "line", "message"),
    [
        ("azure_finetuning/rft_countdown_train_100.jsonl", 1, "no assistant message"),
        ("peer_fixtures/axolotl_conversation.missingturns.json", 1, "is empty"),
        ("mmlu/dev/virology_dev.csv", 2, "no format fits the keys 'question', 'choice0'"),
        ("clinc150/data_train_val.json", 1, "no format fits the keys 'part', 'column_1', 'column_2'"),
    ],
)
def test_files_of_other_kinds_are_refused(path: str, line: int, message: str, tmp_path: Path, renderer: Any) -> None:
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, renderer, path)
    assert caught.value.problems[0].line == line
    assert message in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("path", "source", "rows", "first"),
    [
        (
            "clinc150/data_train_val.json",
            {"columns": {"prompt": "column_1", "completion": "column_2"}, "part": "val"},
            3000,
            "translate",
        ),
        (
            "nlupp/banking_fold0.json",
            {"columns": {"prompt": "text", "completion": ["intents", "slots"]}},
            104,
            '{"intents": ["how_long", "pin", "arrival", "new"], "slots": null}',
        ),
        (
            "restaurant8k/train_8.json",
            {"columns": {"prompt": "userInput.text", "completion": ["labels"]}},
            32,
            '{"labels": [{"slot": "people", "valueSpan": {"startIndex": 14, "endIndex": 34}}]}',
        ),
        (
            "mmlu/dev/virology_dev.csv",
            {"columns": {"prompt": "{question}\nA: {choice0}\nB: {choice1}", "completion": "answer"}},
            5,
            "0",
        ),
    ],
)
def test_other_shapes_by_their_columns(
    path: str, source: dict[str, Any], rows: int, first: str, tmp_path: Path, renderer: Any
) -> None:
    fields = {"deduplicate": "off", "split": {"validation": 0, "test": 0}, "source": source}
    dataset = prepared(tmp_path, renderer, path, **fields)
    assert dataset.manifest.ledger.rows_in == rows
    assert dataset.examples("train")[0].conversation.reference == first


def test_a_whole_folder_of_files(tmp_path: Path, renderer: Any) -> None:
    columns = {"prompt": "question", "completion": "answer"}
    manifest = prepared(tmp_path, renderer, "mmlu/dev", source={"columns": columns}).manifest
    files = sorted((DATA / "mmlu" / "dev").glob("*.csv"))
    assert [file.path for file in manifest.sources] == [f"mmlu/dev/{each.name}" for each in files]
    assert sum(file.rows for file in manifest.sources) == manifest.ledger.rows_in == 5 * len(files)


def test_every_conversation_of_sharegpt(tmp_path: Path, renderer: Any) -> None:
    split = {"validation": 0, "test": 0}
    dataset = prepared(tmp_path, renderer, "mt_bench/dummy_conversation.json", split=split, deduplicate="off")
    given = json.loads((DATA / "mt_bench" / "dummy_conversation.json").read_text())
    meant = [[turn["value"] for turn in row["conversations"]] for row in given]
    assert [[turn.content for turn in row.conversation.messages] for row in dataset.examples("train")] == meant


def test_standard_schema_types_of_functions(tmp_path: Path, renderer: Any) -> None:
    split = {"validation": 0, "test": 0}
    rows = prepared(tmp_path, renderer, "bfcl/BFCL_v4_simple_python.json", split=split).examples("train")
    types = {found for row in rows for found in re.findall(r'"type": "(\w+)"', json.dumps(row.content.tools))}
    assert types == {"function", "object", "string", "integer", "number", "array", "boolean"}
    assert json.loads(rows[0].content.metadata["item"])["id"] == "simple_python_0"
