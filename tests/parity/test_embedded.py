"""The embedded engine against transformers' generate and peft's forward, in float32 on the tiny model."""

from __future__ import annotations

import asyncio
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from tests.parity.measured import with_engine
from tunesmith.engine.backends._packed import FAMILIES, PackedModel
from tunesmith.engine.engine import GenerationRequest, Sampling, TokenEvent
from tunesmith.errors import EngineError, ModelError
from tunesmith.models.adapter import IDENTITY_FILE, WEIGHTS_FILE, AdapterIdentity, adapter_digest
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base
from tunesmith.testing.adapters import make_adapter
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Message

SYSTEM = "You sort complaints of people who paid by card. Answer with one label. " * 2
QUESTIONS = [f"Question {index}: the shop took {index + 3} euros too much" for index in range(5)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    make_adapter(base, folder, rank=4, rslora=True)
    return folder


@pytest.fixture(scope="module")
def prompts(base: Path) -> list[tuple[int, ...]]:
    renderer = Renderer(base)
    system = Message(role="system", content=SYSTEM)
    return [renderer.prompt_ids([system, Message(role="user", content=text)]) for text in QUESTIONS]


async def ask(engine: Any, prompt: tuple[int, ...], adapter: str | None = None, **sampling: Any) -> list[TokenEvent]:
    request = GenerationRequest(prompt_ids=prompt, adapter=adapter, sampling=Sampling(**{"max_tokens": 10} | sampling))
    return [event async for event in engine.submit(request)]


def ids(events: list[TokenEvent]) -> list[int]:
    return [event.token_id for event in events]


def reference_logprobs(model: Any, prompt: tuple[int, ...], answer: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0]
    rows = logits[len(prompt) - 1 : -1].log_softmax(-1)
    return rows[torch.arange(len(answer)), torch.tensor(answer)]


def test_greedy_answers_equal_transformers_generate(base: Path, prompts: list[tuple[int, ...]]) -> None:
    model = load_base(base, "float32")
    found = with_engine(
        base, lambda engine: asyncio.gather(*(ask(engine, prompt) for prompt in prompts)), step_tokens=64
    )
    for prompt, events in zip(prompts, found, strict=True):
        given = torch.tensor([prompt])
        whole = model.generate(given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=10)
        assert ids(events) == whole[0, len(prompt) :].tolist()
        expected = reference_logprobs(model, prompt, ids(events))
        torch.testing.assert_close(torch.tensor([event.logprob for event in events]), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("options", [{}, {"step_tokens": 16, "max_running": 2}, {"prefix_tokens": 0}])
def test_scores_equal_transformers_logprobs(
    base: Path, prompts: list[tuple[int, ...]], options: dict[str, Any]
) -> None:
    model, answer = load_base(base, "float32"), Renderer(base).answer_ids("a label of twenty characters or more")

    async def score(engine: Any) -> list[tuple[float, ...]]:
        return list(await asyncio.gather(*(engine.score(prompt, answer, None) for prompt in prompts)))

    for prompt, scores in zip(prompts, with_engine(base, score, **options), strict=True):
        expected = reference_logprobs(model, prompt, list(answer))
        torch.testing.assert_close(torch.tensor(scores), expected, atol=1e-4, rtol=0)


def test_the_likeliest_tokens_equal_transformers(base: Path, prompts: list[tuple[int, ...]]) -> None:
    model, answer = load_base(base, "float32"), Renderer(base).answer_ids("a label of twenty characters or more")

    async def score(engine: Any) -> list[Any]:
        return list(await asyncio.gather(*(engine.score_with_top(prompt, answer, None, 3) for prompt in prompts)))

    for prompt, found in zip(prompts, with_engine(base, score, step_tokens=16), strict=True):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0]
        values, ids = logits[len(prompt) - 1 : -1].log_softmax(-1).topk(3)
        assert [[best.token_id for best in one.top] for one in found] == ids.tolist()
        told = torch.tensor([[best.logprob for best in one.top] for one in found])
        torch.testing.assert_close(told, values, atol=1e-4, rtol=0)


def test_adapter_equals_peft(base: Path, adapter: Path, prompts: list[tuple[int, ...]]) -> None:
    digest = adapter_digest(adapter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        tuned = PeftModel.from_pretrained(load_base(base, "float32"), str(adapter)).eval()

    async def mixed(engine: Any) -> list[list[TokenEvent]]:
        await engine.load_adapter(digest, adapter)
        work = [ask(engine, prompt, name) for prompt in prompts for name in (None, digest)]
        return list(await asyncio.gather(*work))

    found = with_engine(base, mixed)
    for prompt, plain, events in zip(prompts, found[::2], found[1::2], strict=True):
        expected = reference_logprobs(tuned, prompt, ids(events))
        torch.testing.assert_close(torch.tensor([event.logprob for event in events]), expected, atol=1e-4, rtol=0)
        assert ids(plain) != ids(events)


def test_shared_prefix_is_computed_once_per_adapter(base: Path, adapter: Path, prompts: list[tuple[int, ...]]) -> None:
    digest = adapter_digest(adapter)

    async def measure(engine: Any) -> tuple[list[list[int]], int]:
        await engine.load_adapter(digest, adapter)
        work = [ask(engine, prompt, name) for name in (None, digest) for prompt in prompts]
        found = await asyncio.gather(*work)
        return [ids(events) for events in found], engine.computed_tokens

    with_cache, cheap = with_engine(base, measure)
    without, dear = with_engine(base, measure, prefix_tokens=0)
    assert with_cache == without
    shared = len(Renderer(base).prompt_ids([Message(role="system", content=SYSTEM)])) - len("<assistant>")
    saved = 2 * (len(prompts) - 1) * shared
    assert dear - cheap >= saved > 0.5 * dear


def test_prefix_of_a_finished_answer_is_continued(base: Path, prompts: list[tuple[int, ...]]) -> None:
    async def two_turns(engine: Any) -> tuple[list[int], int]:
        first = ids(await ask(engine, prompts[0]))
        before = engine.computed_tokens
        return ids(await ask(engine, (*prompts[0], *first, 100, 101))), engine.computed_tokens - before

    second, computed = with_engine(base, two_turns)
    assert computed == 3 + len(second) - 1  # the last answer token, the two new ones, then one for each but the last
    assert second == with_engine(base, two_turns, prefix_tokens=0)[0]


def test_stream_begun_after_closing_is_refused(base: Path, prompts: list[tuple[int, ...]]) -> None:
    async def late(engine: Any) -> None:
        events = engine.submit(GenerationRequest(prompt_ids=prompts[0]))
        await engine.close()
        with pytest.raises(EngineError, match="closed"):
            await anext(events)

    with_engine(base, late)


def test_small_pool_makes_requests_wait_and_serves_all(base: Path, prompts: list[tuple[int, ...]]) -> None:
    many = [*prompts] * 3
    expected = with_engine(base, lambda engine: asyncio.gather(*(ask(engine, prompt) for prompt in prompts)))
    found = with_engine(base, lambda engine: asyncio.gather(*(ask(engine, prompt) for prompt in many)), kv_tokens=300)
    assert [ids(events) for events in found] == [ids(events) for events in expected] * 3


def test_a_request_that_breaks_the_model_fails_alone(base: Path, prompts: list[tuple[int, ...]]) -> None:
    async def poisoned(engine: Any) -> list[Any]:
        forward = engine._model.forward

        def breaks(slices: list[Any]) -> Any:
            if any(part.adapter is None and part.token_ids[-1] == 77 for part in slices):
                raise RuntimeError("out of luck")
            return forward(slices)

        engine._model.forward = breaks
        bad = (*prompts[1], 77)
        work = (ask(engine, prompts[0]), ask(engine, bad), ask(engine, prompts[2]))
        return list(await asyncio.gather(*work, return_exceptions=True))

    first, failed, last = with_engine(base, poisoned)
    assert isinstance(failed, EngineError)
    assert "out of luck" in str(failed)
    alone = with_engine(base, lambda engine: asyncio.gather(ask(engine, prompts[0]), ask(engine, prompts[2])))
    assert [ids(first), ids(last)] == [ids(events) for events in alone]


def test_an_engine_that_broke_says_so_and_never_hangs(
    base: Path, adapter: Path, prompts: list[tuple[int, ...]]
) -> None:
    async def broken(engine: Any) -> list[Any]:
        def admit() -> None:
            raise RuntimeError("lost count")

        engine._loop.scheduler.admit = admit
        first = await asyncio.gather(ask(engine, prompts[0]), ask(engine, prompts[1]), return_exceptions=True)
        load = engine.load_adapter(adapter_digest(adapter), adapter)
        later = await asyncio.gather(ask(engine, prompts[0]), load, return_exceptions=True)
        return [*first, *later]

    failures = with_engine(base, broken)
    assert len(failures) == 4
    assert all(isinstance(error, EngineError) and "lost count" in str(error) for error in failures)


def test_event_loop_stays_responsive(base: Path, prompts: list[tuple[int, ...]]) -> None:
    async def ticks(engine: Any) -> int:
        count, work = 0, asyncio.gather(*(ask(engine, prompt, max_tokens=40) for prompt in prompts))
        while not work.done():
            await asyncio.sleep(0.001)
            count += 1
        await work
        return count

    assert with_engine(base, ticks) >= 10


@pytest.mark.parametrize("family", FAMILIES)
def test_family_is_served_faithfully(family: str) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    gpt2 = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 256}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    other = {"num_key_value_heads": 2, "max_position_embeddings": 256, "head_dim": 8, "sliding_window": 16}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    opt = {"ffn_dim": 64, "word_embed_proj_dim": 32}
    config = AutoConfig.for_model(family, vocab_size=128, **sizes, **other, **experts, **opt, **gpt2, **special)
    # torch's grouped matrix product, which runs the experts, does not take float64.
    precision = torch.float32 if "moe" in family else torch.float64
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=precision).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, 0.0, 0.2)
    PackedModel(model, 128)  # its self-test compares with the plain forward, to 2e-6 in float64


def test_bfloat16_is_served_and_close_to_float32(base: Path, prompts: list[tuple[int, ...]]) -> None:
    answer = Renderer(base).answer_ids("label")
    scores = [
        with_engine(base, lambda engine: engine.score(prompts[0], answer, None), precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    assert max(abs(left - right) for left, right in zip(*scores, strict=True)) < 0.5


def test_unknown_family_is_refused() -> None:
    config = AutoConfig.for_model("bloom", vocab_size=128, hidden_size=32, n_layer=1, n_head=2)
    with pytest.raises(ModelError, match="bloom"):
        PackedModel(AutoModelForCausalLM.from_config(config), 128)


def test_unfaithful_attention_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sees_the_future(first: int, low: int, context: int, window: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.zeros(context - first, context - low, dtype=dtype)

    monkeypatch.setattr("tunesmith.engine.backends._attention._mask", sees_the_future)
    with pytest.raises(ModelError, match="faithfully"):
        PackedModel(load_base(base, "float32"), 128)


def test_rotary_positions_that_depend_on_the_batch_are_refused(base: Path) -> None:
    model = load_base(base, "float32")
    model.config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    with pytest.raises(ModelError, match="dynamic"):
        PackedModel(model, 128)


def _edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = dict(load_file(folder / WEIGHTS_FILE))
    edit(tensors)
    save_file(tensors, folder / WEIGHTS_FILE)


def _edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _zero(tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if "lora_B" in name:
            tensor.zero_()


def _first(tensors: dict[str, torch.Tensor], half: str) -> str:
    return next(name for name in sorted(tensors) if half in name)


WRONG_WEIGHTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "changes nothing": (_zero, "changes nothing"),
    "not finite": (lambda tensors: tensors[_first(tensors, "lora_B")].fill_(float("nan")), "not finite"),
    "half missing": (lambda tensors: tensors.pop(_first(tensors, "lora_B")), "has only lora_A"),
    "wrong shape": (lambda tensors: tensors.update({_first(tensors, "lora_A"): torch.ones(4, 5)}), "the layer takes"),
    "no such module": (
        lambda tensors: tensors.update(
            {"base_model.model.model.layers.9.mlp.up_proj.lora_A.weight": torch.ones(4, 32)}
        ),
        "not a linear layer",
    ),
    "foreign tensor": (lambda tensors: tensors.update({"lm_head.weight": torch.ones(2)}), "not served"),
    "empty": (lambda tensors: tensors.clear(), "no tensors"),
}


@pytest.mark.parametrize("case", WRONG_WEIGHTS)
def test_wrong_adapter_weights_are_refused(case: str, base: Path, adapter: Path, tmp_path: Path) -> None:
    edit, message = WRONG_WEIGHTS[case]
    folder = Path(shutil.copytree(adapter, tmp_path / "wrong"))
    _edit_weights(folder, cast(Any, edit))
    _assert_refused(base, folder, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, "missing .*lora_magnitude_vector"),
        ({"modules_to_save": ["norm"]}, "missing .*norm"),
        ({"peft_type": "IA3"}, "options that IA3 does not have"),
        ({"peft_type": "NOVEL"}, "not known"),
        ({"init_lora_weights": "pissa"}, "its start 'pissa' changed"),
    ],
)
def test_adapters_that_are_not_what_their_options_say_are_refused(
    changes: dict[str, Any], message: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "wrong"))
    _edit_config(folder, **changes)
    _assert_refused(base, folder, message)


def test_adapter_of_another_base_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "wrong"))
    identity = AdapterIdentity(base="other", base_digest="0" * 64, template_digest="1", tokenizer_digest="2")
    (folder / IDENTITY_FILE).write_text(identity.model_dump_json())
    _assert_refused(base, folder, "tuned on the base 'other'")


def test_folder_without_an_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    async def load(engine: Any) -> None:
        await engine.load_adapter("0" * 64, tmp_path)

    with pytest.raises(ModelError, match="not an adapter folder"):
        with_engine(base, load)


def _assert_refused(base: Path, folder: Path, message: str) -> None:
    async def load(engine: Any) -> tuple[str, ...]:
        with pytest.raises(ModelError, match=message):
            await engine.load_adapter(adapter_digest(folder), folder)
        return tuple(engine.adapters()) + tuple(engine._model.adapters.names())

    assert with_engine(base, load) == ()
