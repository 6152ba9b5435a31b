"""tunesmith distill: a teacher's answers, filtered by a grader, as rows to train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import show_json

if TYPE_CHECKING:
    from tunesmith.cli.server_process import ModelServer
    from tunesmith.grade.teacher_answers import Asked, Quality, Taught

__all__ = ["command"]


def command(
    prompts: Annotated[Path, typer.Argument(metavar="PROMPTS", help="Rows with prompts, in any format of prepare.")],
    out: Annotated[Path, typer.Option(help="The JSONL file of chat rows to write.")],
    teacher: Annotated[str, typer.Option(help="A release, or MODEL@URL: a model of an OpenAI-compatible server.")],
    grader: Annotated[Path | None, typer.Option(help="Keep only answers this grader (YAML, JSON) accepts.")] = None,
    at_least: Annotated[float, typer.Option(help="The lowest grade to keep.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Let a teacher answer prompts; keep what a grader accepts.

    A release answers through the embedded engine. The server's address ends in /v1; its key is read from
    OPENAI_API_KEY.
    """
    import asyncio

    from tunesmith.cli.server_process import model_server
    from tunesmith.documents import read_document
    from tunesmith.errors import EvaluationError
    from tunesmith.grade.grader import load_grader
    from tunesmith.grade.teacher_answers import Quality

    settings = read_settings()
    asked = _asked(prompts)
    quality = Quality(load_grader(read_document(grader).data) if grader else None, at_least)
    with model_server(teacher, settings.home) as server:
        taught = asyncio.run(_answers(server, asked, quality))
    if not taught.rows:
        raise EvaluationError(f"Not one of {len(asked)} answers was kept: {taught.ledger}. {taught.complaint}")
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in taught.rows), encoding="utf-8")
    if as_json:
        show_json({"out": str(out), "asked": len(asked), "ledger": taught.ledger, "complaint": taught.complaint})
        return
    counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(taught.ledger.items()))
    typer.echo(f"{len(asked):,} prompts: {counts}\nwrote {out}; train on it with format: chat")


def _asked(prompts: Path) -> list[Asked]:
    from tunesmith.grade.teacher_answers import Asked
    from tunesmith.prepare.sources import find_sources, open_sources, parse_sources
    from tunesmith.types.recipe import SourceSpec

    sources = (SourceSpec(path=prompts.name),)
    examples = parse_sources(open_sources(find_sources(sources, prompts.parent)))
    asked = []
    for example in examples:
        content = example.content
        messages = tuple(message.model_dump(mode="json", exclude_defaults=True) for message in content.prompt)
        reference = example.conversation.reference
        item = {"reference": reference, **content.metadata, **json.loads(content.metadata.get("item", "{}"))}
        asked.append(Asked(messages, {"messages": list(messages), **item}))
    return asked


async def _answers(server: ModelServer, asked: list[Asked], quality: Quality) -> Taught:
    from tunesmith.grade.judge import HttpJudge
    from tunesmith.grade.teacher_answers import teacher_answers

    async with HttpJudge(server.address, key=server.key) as judge:
        return await teacher_answers(asked, judge, server.model, {}, quality)
