"""`tunesmith serve --backend vllm` before a (fake) vLLM: the official client talks to releases that vLLM computes."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.e2e.openai.conftest import start_server
from tests.fake_vllm import FakeVLLM, serving
from tunesmith.models.template import Renderer
from tunesmith.models.weights import resolve_base
from tunesmith.release.registry import open_registry
from tunesmith.settings import Settings
from tunesmith.testing.adapters import make_adapter, make_variant
from tunesmith.types.recipe import ModelSpec
from tunesmith.types.release import Release


def register(base: Path, home: Path, name: str, folder: Path, digest: str) -> None:
    """A release of the adapter in `folder`."""
    files = resolve_base(ModelSpec(base=str(base)), home)
    texts = dict.fromkeys(("dataset_digest", "report_digest", "decision_digest", "outcome", "run"), "x")
    release = Release.model_validate(
        {**texts, "name": name, "base": files.name, "base_digest": files.digest, "adapter_digest": digest}
        | {"template_digest": Renderer(base).template_digest, "created": "2026-01-02T03:04:05+00:00"}
    )
    registry = open_registry(Settings(home=home))
    registry.register(release, folder)
    registry.close()


@pytest.mark.slow
def test_releases_are_served_through_vllm(tiny_base: Path, tmp_path: Path) -> None:
    home, fake = tmp_path / "home", FakeVLLM(tiny_base)
    digest = make_adapter(tiny_base, tmp_path / "lora")
    register(tiny_base, home, "sorter", tmp_path / "lora", digest)
    register(tiny_base, home, "dora", tmp_path / "dora", make_variant(tiny_base, tmp_path / "dora", "dora"))
    with serving(fake) as url:
        options = ("--backend", "vllm", "--backend-option", f"urls={url}", "--backend-option", "precision=float32")
        with start_server(home, tiny_base, *options) as running, running.client() as client:
            messages = [{"role": "user", "content": "Where is my money?"}]

            def say(model: str) -> str | None:
                found = client.chat.completions.create(model=model, messages=messages, max_tokens=8)  # type: ignore[arg-type]
                return found.choices[0].message.content

            assert say("base") != say("sorter")
            assert set(fake.adapters) == {digest}
            chunks = client.chat.completions.create(model="sorter", messages=messages, max_tokens=8, stream=True)  # type: ignore[call-overload]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == say("sorter")
            with pytest.raises(openai.InternalServerError, match="more than a plain LoRA"):
                say("dora")
            assert say("base"), "a refused adapter disturbed the server"
