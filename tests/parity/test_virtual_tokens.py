"""Virtual tokens against peft, against real tokens, and tree, padded and plain forward against each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from pydantic import ValidationError
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from tests.parity.measured import loss_and_gradients
from tunesmith import plugins
from tunesmith.errors import ModelError
from tunesmith.models.adapter import AdapterIdentity, adapter_state, save_adapter
from tunesmith.models.attach import attach
from tunesmith.models.method import Method
from tunesmith.models.prefix_keys import PrefixKeys, activations, prefix_shape, table
from tunesmith.models.template import Renderer
from tunesmith.models.virtual import install, virtual_ids, virtual_tokens
from tunesmith.models.weights import load_base
from tunesmith.train import attention
from tunesmith.train.forward import attention_backend, score
from tunesmith.train.selfchecks import leak_probe
from tunesmith.train.trunk import first_trained_layer
from tunesmith.types.conversation import Conversation, Rendered

METHODS: dict[str, dict[str, Any]] = {
    "prompt": {"tokens": 5},
    "prefix": {"tokens": 4, "hidden": 16},
    "ptuning": {"tokens": 6},
}
IDENTITY = AdapterIdentity(base="b", base_digest="1", template_digest="2", tokenizer_digest="3")
IDS = [5, 6, 7, 8, 40, 41, 42, 43]
TEXT = "Label it."


def wrapped(name: str, base: Path, **options: Any) -> tuple[Method, Any]:
    method = plugins.load("tunesmith.models.methods", name).model_validate(METHODS[name] | options)
    assert isinstance(method, Method)
    return method, method.wrap(load_base(base, "float32"), seed=1)


def moved(model: Any) -> Any:
    """`model` after something like training: what is trained has moved at random."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def tail_logits(model: Any, before: tuple[int, ...] | list[int]) -> torch.Tensor:
    found: torch.Tensor = model(torch.tensor([[*before, *IDS]])).logits[0, -len(IDS) :]
    return found


@pytest.mark.parametrize("name", ["prompt", "ptuning"])
def test_with_a_text_as_long_it_starts_exactly_at_that_prompt(name: str, tiny: Path) -> None:
    text = list(Renderer(tiny).answer_ids(TEXT)[:-1])
    _, model = wrapped(name, tiny, text=TEXT, tokens=len(text))
    base = load_base(tiny, "float32")
    torch.testing.assert_close(
        tail_logits(model, virtual_ids(len(text))), tail_logits(base, text), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", METHODS)
def test_what_is_saved_gives_the_same_logits_in_peft(name: str, tiny: Path, tmp_path: Path) -> None:
    method, model = wrapped(name, tiny)
    start = method.start(model)
    save_adapter(method.export(moved(model), adapter_state(model), start), IDENTITY, tmp_path)
    theirs = PeftModel.from_pretrained(load_base(tiny, "float32"), tmp_path).eval()
    ours = tail_logits(model, method.virtual_ids())
    torch.testing.assert_close(ours, tail_logits(theirs, ()), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, tail_logits(load_base(tiny, "float32"), ()), atol=1e-2)


@pytest.mark.parametrize(
    "config",
    [
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=8),
        PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=8),
    ],
    ids=["prompt tuning", "p-tuning v1", "prefix tuning", "prefix tuning with its MLP"],
)
def test_an_adapter_made_by_peft_gives_the_same_logits_here(config: Any, tiny: Path, tmp_path: Path) -> None:
    theirs = moved(get_peft_model(load_base(tiny, "float32"), config)).eval()
    theirs.save_pretrained(tmp_path)
    ours = attach(load_base(tiny, "float32"), tmp_path)
    assert virtual_tokens(ours) == 3
    torch.testing.assert_close(
        tail_logits(ours, virtual_ids(3)), tail_logits(theirs, ()), rtol=1e-4, atol=1e-4, check_device=False
    )


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "llama", "opt", "phi3", "qwen3", "mistral"])
def test_keys_of_real_tokens_stand_for_those_tokens_in_every_family(family: str) -> None:
    """With the keys and values that the model gives to a text, the virtual tokens are that text."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    grouped = {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 8}
    other = {"max_position_embeddings": 64} | ({} if family in ("gpt2", "opt") else grouped)
    gpt2 = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64, "ffn_dim": 64, "word_embed_proj_dim": 32}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(family, vocab_size=128, **sizes, **other, **gpt2, **special)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    text = [11, 12, 13, 14, 15]
    expected = tail_logits(model, text)
    learned = activations(model, text)
    install(model, PrefixKeys(len(text), prefix_shape(config), table(learned)))
    torch.testing.assert_close(tail_logits(model, virtual_ids(len(text))), expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=["shared", "apart"])
def rows(request: pytest.FixtureRequest, tiny: Path, chat: Callable[..., Conversation]) -> list[Rendered]:
    systems = ["Answer."] * 3 if request.param == "shared" else ["A", "B and more", None]
    renderer = Renderer(tiny)
    return [renderer.render(chat(system, f"question {i}", f"{i * 77}")) for i, system in enumerate(systems)]


@pytest.mark.parametrize("name", METHODS)
def test_tree_padded_and_plain_agree_in_loss_and_gradient(name: str, tiny: Path, rows: list[Rendered]) -> None:
    attention.register()
    method, model = wrapped(name, tiny)
    behind = [row.after(method.virtual_ids()) for row in rows]
    loss, gradient = loss_and_gradients(moved(model), behind, "plain")
    assert gradient.norm() > 0
    for how in ("tree", "padded"):
        other, others = loss_and_gradients(model, behind, how)
        assert other == pytest.approx(loss, rel=1e-5)
        assert float((others - gradient).norm() / gradient.norm()) < 1e-4


@pytest.mark.parametrize("name", ["prefix", "ptuning"])
def test_gradients_equal_those_through_a_transformers_cache(name: str, tiny: Path, rows: list[Rendered]) -> None:
    """The classic way to run prefix tuning: the keys and values as `past_key_values`, row by row."""
    method, model = wrapped(name, tiny)
    behind = [row.after(method.virtual_ids()) for row in rows]
    loss, gradient = loss_and_gradients(moved(model), behind, "plain")
    virtual, shape = model.tunesmith_virtual, prefix_shape(model.config)
    model.zero_grad()
    total = torch.zeros(())
    for row in rows:
        learned = virtual.keys_and_values().view(virtual.count, shape.layers, 2, 1, shape.heads, shape.width)
        cache = DynamicCache()
        for layer in range(shape.layers):
            keys, values = (learned[:, layer, part].permute(1, 2, 0, 3) for part in (0, 1))
            cache.update(keys, values, layer)
        ids = torch.tensor([row.token_ids])
        logprobs = model(ids, past_key_values=cache).logits[0, :-1].log_softmax(-1)
        chosen = logprobs.gather(1, ids[0, 1:, None]).squeeze(1)
        total = total - chosen[torch.tensor(row.loss_weights[1:]) > 0].sum() / sum(r.trained_tokens for r in rows)
    total.backward()
    others = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
    assert total.item() == pytest.approx(loss, rel=1e-5)
    assert float((others - gradient).norm() / gradient.norm()) < 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_virtual_tokens_are_computed_once_at_the_root_and_do_not_leak(
    name: str, tiny: Path, rows: list[Rendered]
) -> None:
    attention.register()
    method, model = wrapped(name, tiny)
    behind = [row.after(method.virtual_ids()) for row in rows]
    assert [row.virtual_tokens for row in behind] == [METHODS[name]["tokens"]] * len(rows)
    with attention_backend(model, attention.ATTENTION):
        base = load_base(tiny, "float32", attention=attention.ATTENTION)
        without, scored = score(base, rows, "tree"), score(moved(model), behind, "tree")
        assert scored.computed_tokens == without.computed_tokens + METHODS[name]["tokens"]
        assert torch.equal(scored.weights, without.weights)
        assert leak_probe(model, behind[0]).passed
    assert first_trained_layer(model) == 0


def test_a_row_behind_virtual_tokens_keeps_its_spans_and_weights(rows: list[Rendered]) -> None:
    row = rows[0]
    behind = row.after((-2, -1))
    assert behind.token_ids == (-2, -1, *row.token_ids)
    assert behind.loss_weights == (0.0, 0.0, *row.loss_weights)
    assert [(span.start - 2, span.end - 2) for span in behind.spans[1:]] == [(s.start, s.end) for s in row.spans]
    assert row.after(()) is row
    assert row.virtual_tokens == 0


def test_calls_that_would_be_wrong_are_refused(tiny: Path) -> None:
    method, model = wrapped("prefix", tiny)
    with pytest.raises(ModelError, match="has the virtual token -9; this adapter has 4"):
        model(torch.tensor([[-9, 5]]))
    with pytest.raises(ModelError, match="ask the engine"):
        model(torch.tensor([[*method.virtual_ids(), 5]]), past_key_values=DynamicCache())
    model.train().activation_checkpointing_enable()
    with pytest.raises(ModelError, match="gradient checkpointing"):
        model(torch.tensor([[*method.virtual_ids(), 5]]))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("prefix", {"text": "a", "reparameterise": True}, "set reparameterise: false"),
        ("prompt", {"text": "a", "start_from": "noise"}, "two different starts"),
    ],
)
def test_options_that_contradict_each_other_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        plugins.load("tunesmith.models.methods", name).model_validate(options)


def test_options_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    from tunesmith.testing.tiny import make_tiny_model

    base = make_tiny_model(tmp_path / "base")
    model = load_base(base, "float32")
    model.config.max_position_embeddings = 16
    method = plugins.load("tunesmith.models.methods", "prompt").model_validate({"tokens": 16})
    with pytest.raises(ModelError, match="context is 16 tokens"):
        method.wrap(model, 0)  # type: ignore[attr-defined]


def test_noise_and_vocabulary_are_different_starts_of_the_embeddings_size(tiny: Path) -> None:
    (_, words), (_, noise) = wrapped("prompt", tiny), wrapped("prompt", tiny, start_from="noise")
    embeddings = load_base(tiny, "float32").get_input_embeddings().weight
    found = words.tunesmith_virtual.vectors
    assert all(any(torch.equal(vector, row) for row in embeddings) for vector in found)
    assert 0.5 < float(noise.tunesmith_virtual.vectors.detach().std() / embeddings.detach().std()) < 2.0
