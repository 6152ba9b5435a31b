"""Public files that nobody on this project wrote; skipped where they are absent."""

from __future__ import annotations

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
    ],
)
def test_detected_formats(path: str, rows: int, form: str, tmp_path: Path, renderer: Any) -> None:
    manifest = prepared(tmp_path, renderer, path).manifest
    assert manifest.ledger.rows_used == rows
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
        ("mt_bench/dummy_conversation.json", 2, "not read yet"),
        ("peer_fixtures/axolotl_conversation.json", 1, "not read yet"),
        ("bfcl/BFCL_v4_simple_python.json", 1, "no format fits the keys 'id', 'question', 'function'"),
        ("clinc150/data_train_val.json", 1, "no format fits the keys 'part', 'column_1', 'column_2'"),
    ],
)
def test_files_of_other_kinds_are_refused(path: str, line: int, message: str, tmp_path: Path, renderer: Any) -> None:
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, renderer, path)
    assert caught.value.problems[0].line == line
    assert message in caught.value.problems[0].message
