"""Data sets with a planted answer to "should this be tuned?", and a scripted model that answers as planned."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.decide.budget import Budget
from tunesmith.decide.evidence import DecideReport
from tunesmith.decide.measuring import Lab
from tunesmith.decide.options import DecideOptions
from tunesmith.decide.prompting import Rows, measure_untuned
from tunesmith.decide.retrieval import Chunk
from tunesmith.decide.stage import Measured, Task, conclude
from tunesmith.decide.tuning import Trained, Tuner, measure_tunes, train_subsets
from tunesmith.engine.engine import GenerationRequest, TokenEvent
from tunesmith.progress import Silent
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.dataset import Example
from tunesmith.types.recipe import EvaluateSpec

__all__ = ["LetterRenderer", "PlantedEngine", "Words", "chance", "decided", "example", "rows_of"]

SIZE = 8192
Answers = Callable[[str, str | None], str]


def chance(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 16**8


class LetterRenderer:
    """Ids are code points, so that the engine can read what it is asked."""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> tuple[int, ...]:
        return tuple(ord(each) for message in messages for each in f"<{message.role}>{message.content}")

    def answer_ids(self, text: str) -> tuple[int, ...]:
        return (*(ord(each) for each in text), 0)


class PlantedEngine:
    """Answers what `answers` gives for the prompt and the adapter; counts how often it was asked."""

    context_length = 4000

    def __init__(self, answers: Answers) -> None:
        self.answers, self.asked = answers, 0

    async def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        self.asked += 1
        text = self.answers("".join(chr(each) for each in request.prompt_ids), request.adapter)
        yield TokenEvent(token_id=1, text=text, logprob=-0.1)
        yield TokenEvent(token_id=0, text="", logprob=-0.1, finish_reason="stop")

    async def load_adapter(self, digest: str, path: Path) -> None: ...

    async def unload_adapter(self, digest: str) -> None: ...


class Words:
    """A text as how often it holds each word."""

    def embed(self, text: str) -> np.ndarray:
        vector = np.zeros(SIZE, dtype=np.float32)
        for word in text.split():
            vector[int(chance(word) * SIZE)] += 1
        return vector / (np.linalg.norm(vector) or 1.0)


def example(question: str, answer: str, place: int) -> Example:
    messages = (
        Message(role="system", content="Sort the message."),
        Message(role="user", content=question),
        Message(role="assistant", content=answer),
    )
    return Example(id=f"{place:016x}", source="rows.csv", line=place, content=Conversation(messages=messages))


def rows_of(pairs: Sequence[tuple[str, str]], validation: int, held_out: int, labels: tuple[str, ...]) -> Rows:
    made = tuple(example(question, answer, place) for place, (question, answer) in enumerate(pairs))
    cut = len(made) - held_out
    return Rows(made[: cut - validation], made[cut - validation : cut], made[cut:], labels, "Sort the message.")


def decided(
    answers: Answers, rows: Rows, folder: Path, chunks: Sequence[Chunk] = (), minutes: float = 0.0, **options: Any
) -> tuple[DecideReport, PlantedEngine]:
    """The decision about `rows` with a model that answers by `answers`; the adapter of n rows is called "n"."""
    engine, budget = PlantedEngine(answers), Budget(minutes)
    chosen = DecideOptions.model_validate({"tune_rows": 400, **options})
    spec = EvaluateSpec(metrics=("accuracy", "invalid_rate"), concurrency=8)
    model: Any = engine
    lab = Lab(
        spec, "accuracy", rows.labels, "planted", "id", folder / "arms", model, LetterRenderer(), budget, Silent()
    )

    def tune(subset: Sequence[Example], chain: int, epochs: int) -> Trained:
        size = len(subset)
        steps = epochs * -(-size // 16)
        made = {"rows": size, "chain": chain, "run_id": f"run-{size}", "adapter": str(size), "folder": folder}
        return Trained.model_validate({**made, "seconds": 1.0, "steps": steps, "parameters": 50_000, "start_loss": 2.0})

    untuned = asyncio.run(measure_untuned(lab, rows, chosen, Words(), chunks))
    trained = train_subsets(rows, chosen, 1, Tuner(tune, lambda *_: False), budget)
    tunes = asyncio.run(measure_tunes(lab, rows, trained, chosen))
    task = Task("planted", "planted", "0" * 64, "accuracy", rows, chosen, 0.95, 5_000)
    return conclude(task, Measured(untuned, trained, tunes), budget), engine
