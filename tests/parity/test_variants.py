"""Adapters of other methods than plain LoRA, served beside it over one base, against peft's own forward in float32."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from tunesmith.engine.backends._variants import shared_copy
from tunesmith.engine.backends.embedded import Embedded
from tunesmith.engine.engine import GenerationRequest, Sampling
from tunesmith.errors import EngineError, ModelError
from tunesmith.models.adapter import IDENTITY_FILE, WEIGHTS_FILE, AdapterIdentity, adapter_digest
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base
from tunesmith.testing.adapters import VARIANTS, make_adapter, make_variant
from tunesmith.types.conversation import Message

Result = TypeVar("Result")


@pytest.fixture(scope="module")
def folders(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> adapter folder: every variant and a plain LoRA."""
    root = tmp_path_factory.mktemp("adapters")
    for kind in VARIANTS:
        make_variant(tiny, root / kind, kind)
    make_adapter(tiny, root / "lora")
    return {kind: root / kind for kind in (*VARIANTS, "lora")}


@pytest.fixture(scope="module")
def prompts(tiny: Path) -> list[tuple[int, ...]]:
    renderer = Renderer(tiny)
    return [renderer.prompt_ids([Message(role="user", content=text)]) for text in ("Where?", "It was 3 euros.", "ok")]


def with_engine(base: Path, work: Callable[[Any], Awaitable[Result]], **options: Any) -> Result:
    async def run() -> Result:
        engine = Embedded(**{"precision": "float32"} | options).start(base)
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


async def tokens(engine: Any, prompt: tuple[int, ...], adapter: str | None) -> list[int]:
    request = GenerationRequest(prompt_ids=prompt, adapter=adapter, sampling=Sampling(max_tokens=8))
    return [event.token_id async for event in engine.submit(request)]


def reference(base: Path, folder: Path | None, prompt: tuple[int, ...], answer: list[int]) -> torch.Tensor:
    model: Any = load_base(base, "float32")
    if folder is not None:
        model = PeftModel.from_pretrained(model, folder).eval()
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0]
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
        rows = [(None, 1), (digests["ia3"], 2), (digests["lora"], 1), (digests["oft"], 1), (digests["ia3"], 3)]
        return [members for _, members in adapters.forwards(rows)]

    assert with_engine(tiny, work) == [[0, 2], [1, 4], [3]]


def test_a_variant_takes_the_memory_of_its_own_tensors_only(tiny: Path, folders: dict[str, Path]) -> None:
    async def work(engine: Any) -> dict[str, int]:
        for folder in folders.values():
            await engine.load_adapter(adapter_digest(folder), folder)
        found: dict[str, int] = engine.adapter_bytes()
        return found

    sizes = with_engine(tiny, work)
    for kind, folder in folders.items():
        saved = sum(tensor.nbytes for tensor in load_file(folder / WEIGHTS_FILE).values())
        own = sizes[adapter_digest(folder)]
        # OFT keeps index tensors of its own beside what is saved.
        assert own == saved if kind != "oft" else saved <= own < 8 * saved


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
    folder = folders["dora"]
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
            await engine.load_adapter(adapter_digest(folders["ia3"]), folders["ia3"])
        with pytest.raises(EngineError, match="changed the base model"):
            await tokens(engine, prompts[0], None)

    with_engine(tiny, work)
