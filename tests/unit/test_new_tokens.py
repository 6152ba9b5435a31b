"""New tokens and stretched positions: made once and the same everywhere, trained, saved, loaded, served and merged."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from tests.invariant.runs import run
from tunesmith.engine.backends.embedded import Embedded
from tunesmith.errors import ModelError
from tunesmith.models.adapter import WEIGHTS_FILE, adapter_digest
from tunesmith.models.attach import attach
from tunesmith.models.merge import MergeOptions, merge
from tunesmith.models.methods.lora import Lora
from tunesmith.models.new_tokens import INPUT, OUTPUT, ROWS_FILE, attach_rows, new_token_ids, row_tensors, train_rows
from tunesmith.models.template import Renderer
from tunesmith.models.virtual import virtual_ids, virtual_tokens
from tunesmith.models.weights import BaseFiles, load_base, resolve_base
from tunesmith.progress import Silent
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.recipe import ModelSpec, RopeSpec

TOKENS = ("<|order|>", "<|refund|>")


class Listening(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def grown(base: Path, home: Path) -> BaseFiles:
    return resolve_base(ModelSpec(base=str(base), new_tokens=TOKENS), home)


def untied(folder: Path) -> Path:
    """The tiny model with an output head of its own."""
    make_tiny_model(folder)
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))
    model = LlamaForCausalLM.from_pretrained(folder)
    torch.manual_seed(5)
    torch.nn.init.normal_(model.lm_head.weight, std=0.25)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("tied", [True, False])
def test_a_grown_base_is_the_base_with_tokens_of_its_own(tied: bool, tiny: Path, tmp_path: Path) -> None:
    base = tiny if tied else untied(tmp_path / "untied")
    files = grown(base, tmp_path / "home")
    tokenizer = AutoTokenizer.from_pretrained(files.path)
    ids = new_token_ids(files.path)
    assert ids == (259, 260)
    assert tokenizer("a<|order|>b", add_special_tokens=False).input_ids[1] == 259
    assert tokenizer.decode([260]) == "<|refund|>"
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(base).chat_template
    text = torch.tensor([[5, 6, 7]])
    old, new = load_base(base, "float32"), load_base(files.path, "float32")
    torch.testing.assert_close(new(text).logits[..., :259], old(text).logits)
    for part in ("get_input_embeddings", "get_output_embeddings"):
        before, after = getattr(old, part)().weight.detach(), getattr(new, part)().weight.detach()
        assert not torch.equal(after[259], after[260])
        assert float((after[259] - before.mean(0)).abs().max()) < float(before.std(0).max())


def test_it_is_made_once_and_again_from_its_name_alone_to_the_byte(tiny: Path, tmp_path: Path) -> None:
    first = grown(tiny, tmp_path / "here")
    stamp = (first.path / "model.safetensors").stat().st_mtime_ns
    assert grown(tiny, tmp_path / "here") == first
    assert (first.path / "model.safetensors").stat().st_mtime_ns == stamp
    elsewhere = resolve_base(ModelSpec(base=first.name), tmp_path / "there")
    assert (elsewhere.name, elsewhere.digest) == (first.name, first.digest)
    assert elsewhere.path != first.path
    assert resolve_base(ModelSpec(base=str(tiny)), tmp_path).name == str(tiny)
    with pytest.raises(ModelError, match="says nothing that could be derived"):
        resolve_base(ModelSpec(base=f'{tiny}#{{"no":1}}'), tmp_path)


def test_a_token_that_exists_and_one_named_twice_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'<\|im_start\|>' is a token of this base already"):
        resolve_base(ModelSpec(base=str(tiny), new_tokens=("<|im_start|>",)), tmp_path)
    with pytest.raises(ValueError, match="names a token twice"):
        ModelSpec(new_tokens=("<a>", "<a>"))


@pytest.mark.parametrize("tied", [True, False])
def test_only_the_new_rows_are_trained_and_equal_training_the_whole_weight(
    tied: bool, tiny: Path, tmp_path: Path
) -> None:
    """The rows' gradient is that of the same rows of the whole weight, which nothing else of it receives."""
    files = grown(tiny if tied else untied(tmp_path / "untied"), tmp_path / "home")
    text = torch.tensor([[5, 259, 7, 260, 8]])
    whole = load_base(files.path, "float32")
    whole(text, labels=text).loss.backward()
    model = load_base(files.path, "float32").requires_grad_(False)
    train_rows(model, (259, 260))
    model(text, labels=text).loss.backward()
    places = {INPUT: whole.get_input_embeddings()} | ({} if tied else {OUTPUT: whole.get_output_embeddings()})
    assert set(row_tensors(model)) == set(places)
    for name, rows in row_tensors(model).items():
        assert rows.grad is not None
        torch.testing.assert_close(rows.grad, places[name].weight.grad[[259, 260]], rtol=1e-4, atol=1e-6)
    assert sum(parameter.requires_grad for parameter in model.parameters()) == len(places)


@pytest.mark.parametrize(
    "method",
    [
        {"name": "lora", "rank": 4},
        {"name": "freeze"},
        {"name": "ia3"},
        {"name": "full", "embeddings": False},
        {"name": "prompt", "tokens": 3},
        {"name": "prefix", "tokens": 3},
        {"name": "ptuning", "tokens": 3},
    ],
    ids=lambda case: case["name"],
)
@pytest.mark.parametrize("tied", [True, False])
def test_round_trip_of_a_run(method: dict[str, Any], tied: bool, tiny: Path, tmp_path: Path) -> None:
    """Trained (resumed to the same bytes), saved, loaded by its self-check, served as attached, and merged."""
    files = grown(tiny if tied else untied(tmp_path / "untied"), tmp_path / "home")
    words = ("<|order|>red", "<|refund|>green", "blue<|order|>", "grey")
    record = run(tmp_path / "run", files.path, method=method, epochs=2, words=words, checkpoint_every=1)
    folder, adapter = Path(record.path), Path(record.path) / "adapter"
    rows = load_file(adapter / ROWS_FILE)
    assert rows["new_tokens.ids"].tolist() == [259, 260]
    fresh = load_base(files.path, "float32").get_input_embeddings().weight[[259, 260]]
    assert not torch.allclose(rows[INPUT], fresh, atol=1e-4)
    assert not any("new_tokens" in name or "embed_tokens" in name for name in load_file(adapter / WEIGHTS_FILE))
    served, expected = asyncio.run(scores(files.path, adapter))
    assert served == pytest.approx(expected, abs=1e-3)
    if method["name"] not in ("prompt", "prefix", "ptuning"):
        merged = merge(files, adapter, tmp_path / "merged", [(5, 259, 7, 260, 8)], MergeOptions())
        assert merged.verdict == "faithful"
    before = {file.name: file.read_bytes() for file in adapter.iterdir()}
    shutil.rmtree(folder / "checkpoints" / f"step-{record.steps:06d}")
    shutil.rmtree(adapter)
    (folder / "run.json").unlink()
    run(tmp_path / "run", files.path, method=method, epochs=2, words=words, checkpoint_every=1)
    assert {file.name: file.read_bytes() for file in adapter.iterdir()} == before


async def scores(base: Path, adapter: Path) -> tuple[tuple[float, ...], list[float]]:
    """Log-probabilities of a text with new tokens, by the engine and by the attached model."""
    text = (5, 6, 259, 7, 260, 8)
    engine = Embedded(precision="float32").start(base)
    try:
        digest = adapter_digest(adapter)
        await engine.load_adapter(digest, adapter)
        served = await engine.score(text[:2], text[2:], digest)
    finally:
        await engine.close()
    model = attach(load_base(base, "float32"), adapter)
    virtual = virtual_ids(virtual_tokens(model))
    with torch.no_grad():
        logits = model(torch.tensor([(*virtual, *text)])).logits[0, len(virtual) :].log_softmax(-1)
    return served, [float(logits[place - 1, text[place]]) for place in range(2, len(text))]


def test_without_the_method_new_rows_are_as_they_began(tiny: Path, tmp_path: Path) -> None:
    files = grown(tiny, tmp_path)
    text = torch.tensor([[5, 259, 7]])
    expected = load_base(files.path, "float32")(text).logits
    model = Lora(rank=2).wrap(load_base(files.path, "float32"), 0)
    train_rows(model, (259, 260))
    with torch.no_grad():
        for rows in row_tensors(model).values():
            rows += 1.0
    assert not torch.allclose(model(text).logits, expected)
    with Lora(rank=2).without(model):
        torch.testing.assert_close(model(text).logits, expected)
    assert not torch.allclose(model(text).logits, expected)


def test_rows_that_do_not_fit_are_refused(tiny: Path, tmp_path: Path) -> None:
    files = grown(tiny, tmp_path / "home")
    words = ("<|order|>red", "green", "blue", "grey")
    record = run(tmp_path / "run", files.path, method={"name": "ia3"}, epochs=1, words=words)
    with pytest.raises(ModelError, match="do not fit the model"):
        attach_rows(load_base(tiny, "float32"), Path(record.path) / "adapter")
    of_head = {OUTPUT: torch.zeros(1, 32), "new_tokens.ids": torch.tensor([3])}
    save_file(of_head, tmp_path / ROWS_FILE)
    with pytest.raises(ModelError, match=r"are for \['new_tokens.output'\], the model has \['new_tokens.input'\]"):
        attach_rows(load_base(tiny, "float32"), tmp_path)


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_stretched_positions_and_their_warning(kind: Any, tiny: Path, tmp_path: Path) -> None:
    said = Listening()
    spec = ModelSpec(base=str(tiny), rope=RopeSpec(type=kind, factor=4.0))
    files = resolve_base(spec, tmp_path, said)
    assert any("the base was not made for that" in text for text in said.said)
    config = AutoModelForCausalLM.from_pretrained(files.path).config
    assert config.max_position_embeddings == 4 * 2048
    assert (config.rope_parameters["rope_type"], config.rope_parameters["factor"]) == (kind, 4.0)
    assert new_token_ids(files.path) == ()
    text = torch.tensor([list(range(5, 25))])
    assert not torch.allclose(load_base(files.path, "float32")(text).logits, load_base(tiny, "float32")(text).logits)
    again = resolve_base(ModelSpec(base=str(files.path), rope=RopeSpec(factor=2.0)), tmp_path, said)
    assert any(f"stretched already ({kind})" in text for text in said.said)
    assert again.digest != files.digest


def test_linear_stretching_by_hand(tiny: Path, tmp_path: Path) -> None:
    """Position p of the stretched model has the angles of position p / 2 of the base (arXiv:2306.15595, eq. 3)."""
    files = resolve_base(ModelSpec(base=str(tiny), rope=RopeSpec(type="linear", factor=2.0)), tmp_path)
    text = torch.tensor([[5, 6, 7, 8]])
    stretched = load_base(files.path, "float32")(text, position_ids=torch.tensor([[0, 2, 4, 6]])).logits
    torch.testing.assert_close(stretched, load_base(tiny, "float32")(text).logits, rtol=1e-4, atol=1e-4)


def test_a_base_without_rotary_positions_is_refused(tiny: Path, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=300, n_positions=16))
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path / "gpt2")
    model.save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ModelError, match="'gpt2' have no rotary positions"):
        resolve_base(ModelSpec(base=str(tmp_path / "gpt2"), rope=RopeSpec(factor=2.0)), tmp_path)


def test_new_tokens_render_as_one_token_in_rows_and_prompts(tiny: Path, tmp_path: Path) -> None:
    renderer = Renderer(grown(tiny, tmp_path).path)
    turns = (Message(role="user", content="<|order|> 7?"), Message(role="assistant", content="<|refund|>"))
    row = renderer.render(Conversation(messages=turns))
    assert row.token_ids.count(259) == row.token_ids.count(260) == 1
    assert 259 in renderer.prompt_ids(turns[:1])
