"""Adapters of other methods than plain LoRA, served beside it over one base, against peft's own forward in float32."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from tests.parity.measured import with_engine
from tunesmith import plugins
from tunesmith.engine.backends._variants import shared_copy
from tunesmith.engine.engine import GenerationRequest, Sampling
from tunesmith.errors import EngineError, ModelError, RequestTooLong
from tunesmith.models.adapter import IDENTITY_FILE, WEIGHTS_FILE, AdapterIdentity, adapter_digest
from tunesmith.models.attach import METHODS, attach
from tunesmith.models.template import Renderer
from tunesmith.models.virtual import virtual_ids, virtual_tokens
from tunesmith.models.weights import load_base
from tunesmith.testing.adapters import VARIANTS, make_method_adapter, make_variant
from tunesmith.types.conversation import Message

# Kept small where the default has the most tensors.
OPTIONS: dict[str, dict[str, Any]] = {"prefix": {"hidden": 8}, "prompt": {"tokens": 3}, "ptuning": {"tokens": 17}}


@pytest.fixture(scope="module")
def folders(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> adapter folder: some of peft's own, and one of every method here."""
    root = tmp_path_factory.mktemp("adapters")
    for kind in VARIANTS:
        make_variant(tiny, root / f"peft {kind}", kind)
    for name in plugins.names(METHODS):
        make_method_adapter(tiny, root / name, name, **OPTIONS.get(name, {}))
    return {folder.name: folder for folder in sorted(root.iterdir())}


@pytest.fixture(scope="module")
def prompts(tiny: Path) -> list[tuple[int, ...]]:
    renderer = Renderer(tiny)
    return [renderer.prompt_ids([Message(role="user", content=text)]) for text in ("Where?", "It was 3 euros.", "ok")]


async def tokens(engine: Any, prompt: tuple[int, ...], adapter: str | None) -> list[int]:
    request = GenerationRequest(prompt_ids=prompt, adapter=adapter, sampling=Sampling(max_tokens=8))
    return [event.token_id async for event in engine.submit(request)]


def reference(base: Path, folder: Path | None, prompt: tuple[int, ...], answer: list[int]) -> torch.Tensor:
    """Log-probabilities of `answer` by the model's plain forward; by peft where the adapter is peft's own."""
    model: Any = load_base(base, "float32")
    if folder is not None:
        ours = not folder.name.startswith("peft")
        model = attach(model, folder) if ours else PeftModel.from_pretrained(model, folder).eval()
    before = virtual_ids(virtual_tokens(model))
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*before, *prompt, *answer]])).logits[0, len(before) :]
    rows = logits[len(prompt) - 1 : -1].log_softmax(-1)
    return rows[torch.arange(len(answer)), torch.tensor(answer)]


def test_base_lora_and_variants_in_one_step_each_give_their_own_answer(
    tiny: Path, folders: dict[str, Path], prompts: list[tuple[int, ...]]
) -> None:
    choices: dict[str | None, Path | None] = {None: None}
    choices |= {adapter_digest(folder): folder for folder in folders.values()}
    cases = [(prompt, name) for prompt in prompts for name in choices]

    async def work(engine: Any) -> tuple[list[list[int]], list[list[int]], list[tuple[float, ...]]]:
        for digest, folder in choices.items():
            if digest and folder:
                await engine.load_adapter(digest, folder)
        alone = [await tokens(engine, *case) for case in cases]
        together = list(await asyncio.gather(*(tokens(engine, *case) for case in cases)))
        said = zip(cases, together, strict=True)
        scores = [engine.score(prompt, tuple(answer), name) for (prompt, name), answer in said]
        return alone, together, list(await asyncio.gather(*scores))

    alone, together, scores = with_engine(tiny, work, max_running=32)
    assert together == alone
    assert len({tuple(answer) for answer in together}) > len(cases) // 2
    for (prompt, name), answer, score in zip(cases, together, scores, strict=True):
        expected = reference(tiny, choices[name], prompt, answer)
        torch.testing.assert_close(torch.tensor(score), expected, atol=1e-4, rtol=0)


def test_a_step_is_one_forward_for_base_and_all_loras_and_one_for_each_variant(
    tiny: Path, folders: dict[str, Path], prompts: list[tuple[int, ...]]
) -> None:
    digests = {kind: adapter_digest(folder) for kind, folder in folders.items()}

    async def work(engine: Any) -> list[list[int]]:
        for kind, folder in folders.items():
            await engine.load_adapter(digests[kind], folder)
        adapters = engine._model.adapters
        names = [None, digests["peft ia3"], digests["lora"], digests["peft oft"], digests["peft ia3"]]
        rows = list(zip(names, (1, 2, 1, 1, 3), strict=True))
        return [sorted(members) for _, members in adapters.forwards(rows)]

    assert with_engine(tiny, work) == [[0, 2], [1, 4], [3]]


def test_a_variant_takes_the_memory_of_its_own_tensors_only(tiny: Path, folders: dict[str, Path]) -> None:
    async def work(engine: Any) -> dict[str, int]:
        for folder in folders.values():
            await engine.load_adapter(adapter_digest(folder), folder)
        found: dict[str, int] = engine.adapter_bytes()
        return found

    sizes = with_engine(tiny, work)
    base_bytes = sum(tensor.nbytes for tensor in load_base(tiny, "float32").parameters())
    for kind, folder in folders.items():
        saved = sum(tensor.nbytes for tensor in load_file(folder / WEIGHTS_FILE).values())
        own = sizes[adapter_digest(folder)]
        # OFT keeps index tensors beside what is saved, QLoRA the base in four bits.
        more = {"oft": 8 * saved, "peft oft": 8 * saved, "qlora": base_bytes + 8 * saved}
        assert saved <= own <= more.get(kind, saved), kind


def test_a_shared_copy_has_its_own_modules_and_no_memory_of_its_own(tiny: Path) -> None:
    model = load_base(tiny, "float32")
    twin = shared_copy(model)
    for (name, own), (other, theirs) in zip(twin.named_parameters(), model.named_parameters(), strict=True):
        assert name == other
        assert own is not theirs
        assert own.data_ptr() == theirs.data_ptr()
    assert twin.lm_head.weight is twin.model.embed_tokens.weight
    before = model.lm_head.weight.clone()
    twin.lm_head.weight.data = torch.zeros_like(before)
    assert torch.equal(model.lm_head.weight, before)


def test_a_variant_is_unloaded_and_loaded_again(
    tiny: Path, folders: dict[str, Path], prompts: list[tuple[int, ...]]
) -> None:
    folder = folders["peft dora"]
    digest = adapter_digest(folder)

    async def work(engine: Any) -> tuple[list[int], list[int]]:
        await engine.load_adapter(digest, folder)
        first = await tokens(engine, prompts[0], digest)
        await engine.unload_adapter(digest)
        assert engine.adapter_bytes() == {}
        with pytest.raises(EngineError, match="not loaded"):
            await tokens(engine, prompts[0], digest)
        await engine.load_adapter(digest, folder)
        return first, await tokens(engine, prompts[0], digest)

    first, second = with_engine(tiny, work)
    assert first == second


def _foreign_base(folder: Path) -> None:
    identity = AdapterIdentity(base="other", base_digest="0" * 64, template_digest="1", tokenizer_digest="2")
    (folder / IDENTITY_FILE).write_text(identity.model_dump_json())


def _edited(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = dict(load_file(folder / WEIGHTS_FILE))
    change(tensors)
    save_file(tensors, folder / WEIGHTS_FILE)


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another base": (_foreign_base, "tuned on the base 'other'"),
    "no effect": (lambda folder: _edited(folder, _ones), "changes nothing"),
    "missing": (lambda folder: _edited(folder, lambda tensors: tensors.popitem()), "does not fit the model: missing"),
    "extra": (lambda folder: _edited(folder, lambda tensors: tensors.update(x=torch.ones(1))), "unexpected"),
    "shape": (lambda folder: _edited(folder, _wrong_shape), "does not fit"),
    "not finite": (lambda folder: _edited(folder, _not_finite), "not finite"),
}


def _ones(tensors: dict[str, torch.Tensor]) -> None:
    for tensor in tensors.values():
        tensor.fill_(1.0)


def _wrong_shape(tensors: dict[str, torch.Tensor]) -> None:
    name = sorted(tensors)[0]
    tensors[name] = torch.ones(3, 3)


def _not_finite(tensors: dict[str, torch.Tensor]) -> None:
    tensors[sorted(tensors)[0]].fill_(float("nan"))


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_variant_is_refused(case: str, tiny: Path, tmp_path: Path) -> None:
    spoil, message = WRONG[case]
    make_variant(tiny, tmp_path, "ia3")
    spoil(tmp_path)

    async def work(engine: Any) -> tuple[str, ...]:
        with pytest.raises(ModelError, match=message):
            await engine.load_adapter(adapter_digest(tmp_path), tmp_path)
        return tuple(engine.adapters()) + tuple(engine._model.adapters.names())

    assert with_engine(tiny, work) == ()


def test_an_adapter_that_writes_into_the_base_stops_the_engine(
    tiny: Path, folders: dict[str, Path], prompts: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.engine.backends import _variants

    attach = _variants.attach

    def careless(model: Any, folder: Path) -> Any:
        with torch.no_grad():
            model.model.norm.weight += 1.0
        return attach(model, folder)

    monkeypatch.setattr(_variants, "attach", careless)

    async def work(engine: Any) -> None:
        with pytest.raises(EngineError, match="changed the base model"):
            await engine.load_adapter(adapter_digest(folders["peft ia3"]), folders["peft ia3"])
        with pytest.raises(EngineError, match="changed the base model"):
            await tokens(engine, prompts[0], None)

    with_engine(tiny, work)


@pytest.mark.parametrize("kind", ["prompt", "prefix", "ptuning"])
def test_virtual_tokens_are_kept_by_the_prefix_cache_and_count_as_context(
    kind: str, tiny: Path, folders: dict[str, Path], prompts: list[tuple[int, ...]]
) -> None:
    folder = folders[kind]
    digest = adapter_digest(folder)
    count = virtual_tokens(attach(load_base(tiny, "float32"), folder))

    async def work(engine: Any) -> tuple[list[int], list[int], int]:
        await engine.load_adapter(digest, folder)
        plain = await tokens(engine, prompts[0], None)
        first = await tokens(engine, prompts[0], digest)
        before = engine.computed_tokens
        again = await tokens(engine, prompts[0], digest)
        assert (await tokens(engine, prompts[0], None), again) == (plain, first)
        limit = engine.context_length
        fits = Sampling(max_tokens=limit - len(prompts[0]) - count)
        engine.submit(GenerationRequest(prompt_ids=prompts[0], adapter=digest, sampling=fits))
        over = fits.model_copy(update={"max_tokens": fits.max_tokens + 1})
        with pytest.raises(RequestTooLong, match=f"limit is {limit} less the adapter's {count} virtual tokens"):
            engine.submit(GenerationRequest(prompt_ids=prompts[0], adapter=digest, sampling=over))
        engine.submit(GenerationRequest(prompt_ids=prompts[0], sampling=over))
        with pytest.raises(EngineError, match="Token ids must be"):
            engine.submit(GenerationRequest(prompt_ids=(-1, *prompts[0]), adapter=digest))
        return first, plain, engine.computed_tokens - before

    first, plain, computed = with_engine(tiny, work)
    # Two more answers to a prompt whose keys are kept: the prompt's last token, then one for each token but the last.
    assert computed == len(first) + len(plain)
    assert with_engine(tiny, work_without_cache(digest, folder, prompts[0]), prefix_tokens=0) == first


def work_without_cache(digest: str, folder: Path, prompt: tuple[int, ...]) -> Callable[[Any], Awaitable[list[int]]]:
    async def work(engine: Any) -> list[int]:
        await engine.load_adapter(digest, folder)
        return await tokens(engine, prompt, digest)

    return work


def test_virtual_tokens_cut_by_a_small_step_give_the_same_answer(
    tiny: Path, folders: dict[str, Path], prompts: list[tuple[int, ...]]
) -> None:
    """17 virtual tokens, 16 tokens a step: the chunks' borders fall among them."""
    folder = folders["ptuning"]
    work = work_without_cache(adapter_digest(folder), folder, prompts[1])
    assert with_engine(tiny, work, step_tokens=16, max_running=2) == with_engine(tiny, work)


def test_idle_adapters_are_dropped_for_others_and_loaded_again(
    tiny: Path, folders: dict[str, Path], prompts: list[tuple[int, ...]]
) -> None:
    digests = {kind: adapter_digest(folders[kind]) for kind in ("lora", "peft dora", "peft ia3")}

    async def sizes(engine: Any) -> dict[str, int]:
        for kind, digest in digests.items():
            await engine.load_adapter(digest, folders[kind])
        found: dict[str, int] = engine.adapter_bytes()
        return found

    weighs = with_engine(tiny, sizes)

    async def work(engine: Any) -> None:
        for kind in ("lora", "peft ia3"):
            await engine.load_adapter(digests[kind], folders[kind])
        lora = await tokens(engine, prompts[0], digests["lora"])
        await engine.load_adapter(digests["peft dora"], folders["peft dora"])
        assert set(engine.adapters()) == {digests["lora"], digests["peft dora"]}  # ia3 was used longest ago
        running = asyncio.create_task(tokens(engine, prompts[0], digests["lora"]))
        await asyncio.sleep(0)
        with engine.hold(digests["peft dora"]):
            await engine.load_adapter(
                digests["peft ia3"], folders["peft ia3"]
            )  # over the limit: both others are in use
            assert len(engine.adapters()) == 3
            assert await running == lora
        await engine.unload_adapter(digests["peft ia3"])
        await engine.load_adapter(digests["peft ia3"], folders["peft ia3"])
        assert digests["peft ia3"] in engine.adapters()
        assert len(engine.adapters()) == 2
        await engine.load_adapter(digests["lora"], folders["lora"])
        assert await tokens(engine, prompts[0], digests["lora"]) == lora

    limit = weighs[digests["lora"]] + weighs[digests["peft dora"]]
    with_engine(tiny, work, adapter_bytes=limit)

    async def too_large(engine: Any) -> None:
        with pytest.raises(ModelError, match="the limit for all adapters is 10"):
            await engine.load_adapter(digests["lora"], folders["lora"])

    with_engine(tiny, too_large, adapter_bytes=10)


def test_giving_up_an_unload_leaves_the_engine_alive_and_loading_again_waits_for_it(
    tiny: Path, folders: dict[str, Path], prompts: list[tuple[int, ...]]
) -> None:
    folder = folders["peft ia3"]
    digest = adapter_digest(folder)

    async def work(engine: Any) -> None:
        await engine.load_adapter(digest, folder)
        expected = await tokens(engine, prompts[0], digest)
        running = asyncio.create_task(tokens(engine, prompts[0], digest))
        await asyncio.sleep(0)
        unload = asyncio.create_task(engine.unload_adapter(digest))
        await asyncio.sleep(0)
        unload.cancel()
        await engine.load_adapter(digest, folder)
        assert await running == expected
        assert await tokens(engine, prompts[0], digest) == expected
        assert await tokens(engine, prompts[0], None) != expected

    with_engine(tiny, work)


def test_every_method_is_served_in_bfloat16_close_to_float32(
    tiny: Path, folders: dict[str, Path], prompts: list[tuple[int, ...]]
) -> None:
    answer = Renderer(tiny).answer_ids("yes")

    async def work(engine: Any) -> list[tuple[float, ...]]:
        digests = [adapter_digest(folder) for folder in folders.values()]
        for digest, folder in zip(digests, folders.values(), strict=True):
            await engine.load_adapter(digest, folder)
        return list(await asyncio.gather(*(engine.score(prompts[0], answer, digest) for digest in digests)))

    exact, rounded = with_engine(tiny, work), with_engine(tiny, work, precision="bfloat16")
    for kind, left, right in zip(folders, exact, rounded, strict=True):
        if kind != "qlora":  # its four bits are cut from weights of another precision
            assert torch.tensor(left).sub(torch.tensor(right)).abs().max() < 0.5, kind
