"""The train-to-serve parity certificate of a run: trainer, evaluator and server answer the same fixed prompts.

The trainer is the adapter on the base as training computes it, from token ids that training's renderer laid out; the
evaluator and the server are engines with the options that evaluation and `tunesmith serve` give them, and read the
prompts as requests are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tunesmith.engine.backend import start_engine
from tunesmith.engine.parity import CANDIDATES, TOKENS, agree, bound_of, fixed_prompts, read_engine
from tunesmith.models.attach import attach
from tunesmith.models.parameters import free_tensors
from tunesmith.models.template import Renderer
from tunesmith.models.weights import BaseFiles, load_base
from tunesmith.progress import Progress
from tunesmith.store.values import read_value, write_value
from tunesmith.train import attention
from tunesmith.train.memory import release_unused
from tunesmith.train.placement import Placement, placement_of
from tunesmith.train.reading import Wanted, read_trained
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.parity import PARITY_FILE, Agreement, ParityCertificate, Reading
from tunesmith.types.recipe import PluginSpec, TrainSpec
from tunesmith.types.run import RunRecord

__all__ = ["Subject", "certify"]

_ANSWER = Message(role="assistant", content="yes")


class Subject(NamedTuple):
    """What is certified: a finished run, the base it tuned, and the system prompt that its release gives requests."""

    record: RunRecord
    base: BaseFiles
    adapter: Path
    system_prompt: str | None


def certify(
    subject: Subject, spec: TrainSpec, engines: Mapping[str, PluginSpec], progress: Progress
) -> ParityCertificate:
    """The certificate of a run, which is kept beside it and made once. `engines` are started one after the other.

    Raises ModelError when one of them does not compute what was trained.
    """
    placement, place = placement_of(spec), Path(subject.record.path) / PARITY_FILE
    known = read_value(place, ParityCertificate)
    if known is not None and _still_holds(known, subject, placement):
        return known
    progress.say(f"certifying that {', '.join(engines)} compute what was trained")
    renderer = Renderer(subject.base.path)
    conversations = fixed_prompts(subject.system_prompt)
    trained = _trained(subject, placement, spec, [_as_trained(renderer, prompt) for prompt in conversations])
    prompts = [renderer.prompt_ids(prompt) for prompt in conversations]
    bound, agreements = bound_of(placement.precision), []
    for name, engine in engines.items():
        agreement, precision = asyncio.run(_served(name, engine, subject, (trained, prompts), placement.precision))
        agreements.append(agreement)
        bound = max(bound, bound_of(precision))
    certificate = ParityCertificate(
        adapter_digest=subject.record.adapter_digest,
        base_digest=subject.base.digest,
        template_digest=renderer.template_digest,
        precision=placement.precision,
        device=placement.device.type,
        bound=bound,
        readings=tuple(trained),
        agreements=tuple(agreements),
    )
    write_value(place, certificate)
    return certificate


def _still_holds(known: ParityCertificate, subject: Subject, placement: Placement) -> bool:
    made_of = (known.adapter_digest, known.base_digest, known.precision, known.device)
    wanted = (subject.record.adapter_digest, subject.base.digest, placement.precision, placement.device.type)
    return made_of == wanted and len(known.readings) == len(fixed_prompts(subject.system_prompt))


def _as_trained(renderer: Renderer, prompt: Sequence[Message]) -> tuple[int, ...]:
    """The prompt's ids [P] as they stand before the answer in a training row."""
    row = renderer.render(Conversation(messages=(*prompt, _ANSWER)))
    return row.token_ids[: row.spans[-1].start]


def _trained(
    subject: Subject, placement: Placement, spec: TrainSpec, prompts: Sequence[tuple[int, ...]]
) -> list[Reading]:
    attention.register()
    base = load_base(subject.base.path, placement.precision, attention=placement.attention, device=placement.device)
    model = attach(base, subject.adapter)
    try:
        wanted = Wanted(TOKENS, CANDIDATES, Renderer(subject.base.path).stop_ids)
        return read_trained(model, prompts, spec.batching, wanted)
    finally:
        free_tensors(model)
        release_unused()


async def _served(
    name: str,
    engine: PluginSpec,
    subject: Subject,
    answers: tuple[Sequence[Reading], Sequence[tuple[int, ...]]],
    precision: str,
) -> tuple[Agreement, str | None]:
    """How `engine` agrees with the trainer, and what it computes in."""
    trained, prompts = answers
    started = start_engine(engine, subject.base.path)
    try:
        digest = subject.record.adapter_digest
        await started.load_adapter(digest, subject.adapter)
        found = await read_engine(started, prompts, digest)
        return agree(name, trained, found, bound_of(precision, started.precision)), started.precision
    finally:
        await started.close()
