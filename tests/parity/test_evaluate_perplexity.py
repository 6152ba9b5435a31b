"""The perplexity of an evaluation equals the one that transformers computes on the rendered row."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tunesmith.engine.backends.embedded import Embedded
from tunesmith.evaluate.stage import ContestantSpec, EvaluationInput, evaluate
from tunesmith.models.template import Renderer
from tunesmith.progress import Silent
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.dataset import Example
from tunesmith.types.recipe import EvaluateSpec
from tunesmith.types.report import EvaluationReport


def example(index: int, text: str, label: str) -> Example:
    messages = (Message(role="user", content=text), Message(role="assistant", content=label))
    return Example(id=f"e{index}", source="rows.csv", line=index, content=Conversation(messages=messages))


EXAMPLES = (example(0, "charged twice", "fee"), example(1, "stolen!", "fraud"), example(2, "where is it", "fee"))


def test_perplexity_equals_the_plain_forward(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "tiny")
    renderer = Renderer(folder)
    contestant = ContestantSpec(name="base", model="tiny", adapter_digest=None, system_prompt=True)
    subject = EvaluationInput(contestants=(contestant,), examples=EXAMPLES, labels=("fee", "fraud"), dataset_digest="d")

    async def measured() -> EvaluationReport:
        engine = Embedded(precision="float32").start(folder)
        try:
            spec = EvaluateSpec(max_new_tokens=4, concurrency=2)
            return await evaluate(spec, subject, engine=engine, renderer=renderer, progress=Silent())
        finally:
            await engine.close()

    report = asyncio.run(measured())
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    total, count = 0.0, 0
    for row in EXAMPLES:
        rendered = renderer.render(row.conversation)
        trained = torch.tensor(rendered.loss_weights) > 0
        with torch.no_grad():
            logprobs = model(torch.tensor([rendered.token_ids])).logits[0, :-1].log_softmax(-1)
        picked = logprobs.gather(1, torch.tensor(rendered.token_ids)[1:, None])[:, 0]
        total += float(picked[trained[1:]].sum())
        count += int(trained.sum())
    score = report.contestant("base").scores["perplexity"]
    assert score.value == pytest.approx(float(torch.tensor(-total / count).exp()), rel=1e-4)
    assert sum(row.reference_tokens for row in report.contestant("base").predictions) == count
