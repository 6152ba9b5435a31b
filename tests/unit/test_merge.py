"""Merging: the folder that comes out is the tuned model, what cannot be merged is refused, what is lost is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from typer.testing import CliRunner

from tunesmith import plugins
from tunesmith.cli.main import app
from tunesmith.errors import ModelError
from tunesmith.models.adapter import IDENTITY_FILE, WEIGHTS_FILE, AdapterIdentity
from tunesmith.models.attach import METHODS, attach
from tunesmith.models.merge import MERGE_FILE, MergeOptions, MergeRecord, merge
from tunesmith.models.quantised import require_whole_blocks
from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles, load_base, resolve_base
from tunesmith.testing.methods import IDS, train_briefly
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.recipe import ModelSpec, PluginSpec

PROBE = [IDS, (9, 10, 11, 12, 13)]
KEPT_APART = ("bottleneck", "prefix", "prompt", "ptuning")
MERGED = [name for name in plugins.names(METHODS) if name not in KEPT_APART]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose rows hold whole blocks of 64, as transformers' own quantisation needs on the CPU."""
    return make_tiny_model(tmp_path_factory.mktemp("wide"), hidden=64)


def made(base: Path, folder: Path, **method: Any) -> tuple[BaseFiles, Path]:
    train_briefly(base, folder / "adapter", PluginSpec.model_validate(method))
    return resolve_base(ModelSpec(base=str(base)), folder), folder / "adapter"


@pytest.mark.parametrize("name", MERGED)
def test_a_merged_model_is_base_and_adapter(name: str, tiny: Path, tmp_path: Path) -> None:
    base, adapter = made(tiny, tmp_path, name=name)
    record = merge(base, adapter, tmp_path / "out", PROBE, MergeOptions())
    assert record.verdict == "faithful"
    assert record.effect > 100 * record.drift
    assert (record.rows, record.tokens, record.precision) == (2, len(IDS) - 1 + 4, "float32")
    ids = torch.tensor([IDS])
    expected = attach(load_base(tiny, "float32"), adapter)(ids).logits.log_softmax(-1)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(merged(ids).logits.log_softmax(-1), expected, rtol=1e-3, atol=1e-3)
    assert MergeRecord.model_validate_json((tmp_path / "out" / MERGE_FILE).read_text()) == record


def test_the_folder_is_complete_and_belongs_to_nobody_else(tiny: Path, tmp_path: Path) -> None:
    base, adapter = made(tiny, tmp_path, name="lora", rank=2)
    before = {file.name: file.read_bytes() for file in tiny.iterdir()}
    merge(base, adapter, tmp_path / "out", PROBE, MergeOptions(precision="bfloat16"))
    assert Renderer(tmp_path / "out").tokenizer_digest == Renderer(tiny).tokenizer_digest
    assert Renderer(tmp_path / "out").template_digest == Renderer(tiny).template_digest
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("ab").input_ids
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert resolve_base(ModelSpec(base=str(tmp_path / "out")), tmp_path).digest != base.digest
    assert {file.name: file.read_bytes() for file in tiny.iterdir()} == before
    assert not list(tmp_path.glob(".merge-*"))


@pytest.mark.parametrize("name", KEPT_APART)
def test_what_is_more_than_a_change_of_weights_is_not_merged(name: str, tiny: Path, tmp_path: Path) -> None:
    base, adapter = made(tiny, tmp_path, name=name)
    with pytest.raises(ModelError, match=r"cannot be merged"):
        merge(base, adapter, tmp_path / "out", PROBE, MergeOptions())
    assert not (tmp_path / "out").exists()


def test_not_a_number_is_not_merged(tiny: Path, tmp_path: Path) -> None:
    base, adapter = made(tiny, tmp_path, name="lora", rank=2)
    weights = load_file(adapter / WEIGHTS_FILE)
    next(iter(weights.values()))[0, 0] = torch.nan
    save_file(weights, adapter / WEIGHTS_FILE)
    with pytest.raises(ModelError, match="values that are not finite"):
        merge(base, adapter, tmp_path / "out", PROBE, MergeOptions())


def test_weights_that_overflow_are_not_saved(tiny: Path, tmp_path: Path) -> None:
    base, adapter = made(tiny, tmp_path, name="lora", rank=2)
    weights = {name: tensor * 1e20 for name, tensor in load_file(adapter / WEIGHTS_FILE).items()}
    save_file(weights, adapter / WEIGHTS_FILE)
    with pytest.raises(ModelError, match=r"cannot be merged: NaNs detected|not finite"):
        merge(base, adapter, tmp_path / "out", PROBE, MergeOptions())
    assert not (tmp_path / "out").exists()


def test_another_base_and_an_existing_folder_are_refused(tiny: Path, wide: Path, tmp_path: Path) -> None:
    base, adapter = made(tiny, tmp_path, name="lora", rank=2)
    other = resolve_base(ModelSpec(base=str(wide)), tmp_path)
    with pytest.raises(ModelError, match="was tuned on"):
        merge(other, adapter, tmp_path / "out", PROBE, MergeOptions())
    with pytest.raises(ModelError, match="exists already"):
        merge(base, adapter, tmp_path, PROBE, MergeOptions())


def test_four_bits_are_measured_and_a_quantised_base_must_be_asked_for(wide: Path, tmp_path: Path) -> None:
    """A quantised base is made by merging into four bits; an adapter of it is then merged again."""
    base, adapter = made(wide, tmp_path / "first", name="lora", rank=2)
    plain = merge(base, adapter, tmp_path / "plain", PROBE, MergeOptions())
    four_bit = merge(base, adapter, tmp_path / "nf4", PROBE, MergeOptions(quantise="nf4"))
    assert four_bit.precision == "nf4"
    assert four_bit.drift > 50 * plain.drift
    assert four_bit.verdict != "faithful"
    assert "quantization_config" in json.loads((tmp_path / "nf4" / "config.json").read_text())
    quantised = resolve_base(ModelSpec(base=str(tmp_path / "nf4")), tmp_path)
    identity = AdapterIdentity(base="nf4", base_digest=quantised.digest, template_digest="1", tokenizer_digest="2")
    (adapter / IDENTITY_FILE).write_text(identity.model_dump_json())
    with pytest.raises(ModelError, match="is quantised: merged weights would be rounded") as refused:
        merge(quantised, adapter, tmp_path / "again", PROBE, MergeOptions())
    assert "--quantise nf4" in str(refused.value)
    again = merge(quantised, adapter, tmp_path / "again", PROBE, MergeOptions(quantise="nf4"))
    assert again.drift > 0
    assert again.effect > 0


def test_four_bits_that_a_cpu_would_read_wrongly_are_refused(tiny: Path, wide: Path, tmp_path: Path) -> None:
    """Rows of 32 numbers share blocks of 64 in the form that transformers saves, to be made or found in the base."""
    base, adapter = made(tiny, tmp_path / "made", name="lora", rank=2)
    refused = r"layer model\.layers\.0\.\S+ has rows of 32 numbers, which is no multiple of 64: bitsandbytes"
    with pytest.raises(ModelError, match=refused) as caught:
        merge(base, adapter, tmp_path / "out", PROBE, MergeOptions(quantise="nf4"))
    assert "without --quantise" in str(caught.value)
    assert not (tmp_path / "out").exists()
    four_bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    AutoModelForCausalLM.from_pretrained(tiny, quantization_config=four_bits).save_pretrained(tmp_path / "nf4")
    with pytest.raises(ModelError, match=refused):
        require_whole_blocks(load_base(tmp_path / "nf4", "float32"), quantise=False)
    require_whole_blocks(load_base(wide, "float32"), quantise=True)
    require_whole_blocks(load_base(tiny, "float32"), quantise=False)


@pytest.mark.parametrize(
    ("drift", "verdict"), [(0.05, "faithful"), (0.051, "degraded"), (0.5, "degraded"), (0.51, "erased")]
)
def test_the_verdict_is_the_share_of_the_effect_that_was_lost(drift: float, verdict: str) -> None:
    record = MergeRecord(
        method="LORA", base="b", base_digest="1", adapter_digest="2", precision="float32", rows=1, tokens=1,
        effect=1.0, drift=drift, largest_drift=drift,
    )  # fmt: skip
    assert record.verdict == verdict


def test_the_command_writes_the_folder_and_says_what_it_cost(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    _, adapter = made(tiny, tmp_path, name="lora", rank=2)
    result = CliRunner().invoke(app, ["merge", str(adapter), "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert (shown["verdict"], shown["method"]) == ("faithful", "LORA")
    assert (Path(shown["path"]) / "config.json").is_file()
    again = CliRunner().invoke(app, ["merge", str(adapter), "--out", str(tmp_path / "out")])
    assert again.exit_code == 1
    assert "exists already" in again.output
    (adapter / IDENTITY_FILE).unlink()
    nameless = CliRunner().invoke(app, ["merge", str(adapter), "--out", str(tmp_path / "other")])
    assert "does not say what base it belongs to" in nameless.output
