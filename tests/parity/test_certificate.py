"""The parity certificate on the tiny model: trainer, evaluator and server agree; a server that does not is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.engine.backends import _lora
from tunesmith.engine.backends.echo import Echo
from tunesmith.engine.backends.embedded import Embedded
from tunesmith.engine.parity import bound_of
from tunesmith.errors import ModelError
from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles, load_base, resolve_base
from tunesmith.parity import Subject, certify
from tunesmith.progress import Silent
from tunesmith.release.registry import open_registry
from tunesmith.serve import shelf
from tunesmith.serve.shelf import AdapterShelf
from tunesmith.settings import Settings
from tunesmith.store.values import read_value
from tunesmith.testing.adapters import make_adapter, make_method_adapter, make_variant
from tunesmith.train import attention
from tunesmith.train.forward import Batching, attention_for
from tunesmith.train.reading import Wanted, read_trained
from tunesmith.types.parity import PARITY_FILE, ParityCertificate
from tunesmith.types.recipe import ModelSpec, PluginSpec, TrainSpec
from tunesmith.types.release import Release
from tunesmith.types.run import RunRecord

SPEC = TrainSpec(precision="float32", device="cpu")
ENGINES = {
    "evaluator": PluginSpec.model_validate({"name": "embedded", "precision": "float32", "max_running": 4}),
    "server": PluginSpec.model_validate({"name": "embedded", "precision": "float32"}),
}
KINDS: dict[str, Callable[[Path, Path], str]] = {
    "lora": lambda base, folder: make_adapter(base, folder, rslora=True),
    "dora": lambda base, folder: make_variant(base, folder, "dora"),
    "ia3": lambda base, folder: make_variant(base, folder, "ia3"),
    "ptuning": lambda base, folder: make_method_adapter(base, folder, "ptuning", tokens=4),
    "full": lambda base, folder: make_method_adapter(base, folder, "full"),
}


def subject_of(tiny: Path, tmp_path: Path, kind: str = "lora") -> Subject:
    base: BaseFiles = resolve_base(ModelSpec(base=str(tiny)), tmp_path)
    digest = KINDS[kind](tiny, tmp_path / "adapter")
    numbers = {name: 1 for name, field in RunRecord.model_fields.items() if field.annotation in (int, float)}
    texts = dict.fromkeys(("id", "name", "dataset_digest", "template_digest", "precision"), "x")
    record = RunRecord.model_validate(
        {**numbers, **texts, "path": str(tmp_path), "base": base.name, "base_digest": base.digest}
        | {"adapter_digest": digest, "checks": ()}
    )
    return Subject(record, base, tmp_path / "adapter", "Sort it.")


def certified(tiny: Path, tmp_path: Path, kind: str = "lora") -> tuple[Subject, ParityCertificate]:
    subject = subject_of(tiny, tmp_path, kind)
    return subject, certify(subject, SPEC, ENGINES, Silent())


def released(subject: Subject, certificate: ParityCertificate, home: Path) -> Release:
    texts = dict.fromkeys(("base", "dataset_digest", "report_digest", "decision_digest", "outcome", "run"), "x")
    release = Release.model_validate(
        {**texts, "name": "sorter", "base_digest": subject.base.digest, "template_digest": "x"}
        | {"adapter_digest": subject.record.adapter_digest, "created": "2026-01-02T03:04:05+00:00"}
    )
    registry = open_registry(Settings(home=home))
    kept, _ = registry.register(release, subject.adapter, {PARITY_FILE: certificate})
    registry.close()
    return kept


@pytest.mark.parametrize("batching", ["tree", "padded"])
def test_the_trainers_reading_is_the_models_own_greedy_answer(tiny: Path, batching: Batching) -> None:
    attention.register()
    renderer = Renderer(tiny)
    prompts = [tuple(range(5, 5 + length)) for length in (3, 9)]
    model = load_base(tiny, "float32", attention=attention_for(batching))
    found = read_trained(model, prompts, batching, Wanted(6, 4, renderer.stop_ids))
    plain = load_base(tiny, "float32")
    for prompt, reading in zip(prompts, found, strict=True):
        given = torch.tensor([prompt])
        whole = plain.generate(given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=6)
        assert reading.token_ids == tuple(whole[0, len(prompt) :].tolist())
        with torch.no_grad():
            logprobs = plain(whole).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        for step, row in zip(reading.steps, logprobs, strict=True):
            expected = row.topk(4)
            assert [one.token_id for one in step] == expected.indices.tolist()
            assert [one.logprob for one in step] == pytest.approx(expected.values.tolist(), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_trainer_evaluator_and_server_agree(tiny: Path, tmp_path: Path, kind: str) -> None:
    subject, certificate = certified(tiny, tmp_path, kind)
    assert certificate.adapter_digest == subject.record.adapter_digest
    assert certificate.bound == bound_of("float32")
    assert [agreement.reader for agreement in certificate.agreements] == ["evaluator", "server"]
    for agreement in certificate.agreements:
        assert agreement.prompts == len(certificate.readings) == 4
        assert agreement.tokens > 0
        assert agreement.largest_difference < 1e-3
    assert read_value(tmp_path / PARITY_FILE, ParityCertificate) == certificate


def test_a_certificate_is_made_once(tiny: Path, tmp_path: Path) -> None:
    subject, certificate = certified(tiny, tmp_path)
    nothing_starts = {"server": PluginSpec(name="there is no such backend")}
    assert certify(subject, SPEC, nothing_starts, Silent()) == certificate


def wrong_scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that divides by the rank although the adapter is rank-stabilised: the numbers are finite and wrong."""
    right = _lora._factors

    def wrong(name: str, pair: Any, module: Any, config: dict[str, Any]) -> Any:
        return right(name, pair, module, {**config, "use_rslora": False})

    monkeypatch.setattr(_lora, "_factors", wrong)


def test_a_server_that_computes_something_else_certifies_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_scaling(monkeypatch)
    subject = subject_of(tiny, tmp_path)
    with pytest.raises(ModelError, match="The evaluator does not compute what was trained"):
        certify(subject, SPEC, ENGINES, Silent())
    assert not (tmp_path / PARITY_FILE).exists()


def on_a_shelf(tiny: Path, release: Release, engine: Any = None) -> tuple[str, ...]:
    """Use the release as a request does; the adapters that are loaded afterwards."""

    async def use() -> tuple[str, ...]:
        served = engine or Embedded(precision="float32").start(tiny)
        try:
            async with AdapterShelf(served, 2).use(release):
                return tuple(served.adapters())
        finally:
            left.extend(served.adapters())
            await served.close()

    left: list[str] = []
    try:
        return asyncio.run(use())
    except ModelError:
        assert left == [], "a refused adapter stayed loaded"
        raise


def test_a_server_that_agrees_serves_the_adapter(tiny: Path, tmp_path: Path) -> None:
    release = released(*certified(tiny, tmp_path), tmp_path / "home")
    assert on_a_shelf(tiny, release) == (release.adapter_digest,)


def test_a_server_that_differs_refuses_the_adapter(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = released(*certified(tiny, tmp_path), tmp_path / "home")
    wrong_scaling(monkeypatch)
    with pytest.raises(ModelError, match=r"sorter@v1 is not served here: The server \(float32\) does not compute"):
        on_a_shelf(tiny, release)


def test_a_client_that_leaves_during_the_proof_does_not_make_it_pass(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = released(*certified(tiny, tmp_path), tmp_path / "home")
    wrong_scaling(monkeypatch)
    really = shelf.require_parity

    async def run() -> None:
        proving, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(*arguments: Any) -> None:
            proving.set()
            await go_on.wait()
            await really(*arguments)

        monkeypatch.setattr(shelf, "require_parity", slowly)
        engine = Embedded(precision="float32").start(tiny)
        shared = AdapterShelf(engine, 2)

        async def ask() -> None:
            async with shared.use(release):
                pass

        try:
            leaving = asyncio.create_task(ask())
            await proving.wait()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            go_on.set()
            with pytest.raises(ModelError, match="sorter@v1 is not served here"):
                await ask()
        finally:
            await engine.close()

    asyncio.run(run())


def test_an_engine_without_weights_is_not_held_against_numbers(tiny: Path, tmp_path: Path) -> None:
    release = released(*certified(tiny, tmp_path), tmp_path / "home")
    assert on_a_shelf(tiny, release, Echo().start(tiny)) == (release.adapter_digest,)
