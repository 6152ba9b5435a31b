"""tunesmith demo: a recipe from end to end, then questions to the server through the official openai client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.options import AsJson, Changes, RecipePath, read_settings
from tunesmith.cli.output import show_json, stdout
from tunesmith.cli.run import run_recipe, show_outcome
from tunesmith.errors import MissingDependency, Problem, RecipeError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


def command(
    recipe: RecipePath,
    changes: Changes = None,
    questions: Annotated[str, typer.Option(help="File beside the recipe, one question per line.")] = "unseen.txt",
    as_json: AsJson = False,
) -> None:
    """Run a recipe, serve the result and ask it unseen questions.

    The questions go over HTTP through the official openai client.
    """
    unseen = _read_questions(recipe.parent / questions)
    client_class = _openai_client()
    outcome = run_recipe(recipe, changes)
    if not as_json:
        show_outcome(outcome, recipe)
    model = outcome.release.reference
    typer.secho(f"Starting the server and asking {model} what it has never seen ...", err=True, dim=True)
    from tunesmith.cli.server_process import running_server

    with running_server(read_settings().home) as server:
        client = client_class(base_url=f"{server.address}/v1", api_key=server.key, max_retries=2)
        answers = [_ask(client, model, question) for question in unseen]
    if as_json:
        show_json({"outcome": outcome, "answers": answers})
        return
    from tunesmith.cli import tables

    table = tables.grid(f"Unseen questions to {model}, over HTTP", "question", "answer", "seconds")
    table.columns[1].justify = "left"
    for answer in answers:
        table.add_row(answer["question"], answer["answer"], f"{answer['seconds']:.2f}")
    console = stdout()
    console.print()
    console.print(table)


def _read_questions(path: Path) -> list[str]:
    if not path.is_file():
        fix = "put one question per line into it, or name another with --questions"
        raise RecipeError([Problem("no such file", file=str(path), fix=fix)], message="There is nothing to ask:")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _openai_client() -> Any:
    try:
        from openai import OpenAI
    except ImportError as error:
        raise MissingDependency(
            "The demo asks through the official client, which is not installed.",
            hint="Install it with: pip install 'tunesmith[demo]'",
        ) from error
    return OpenAI


def _ask(client: Any, model: str, question: str) -> dict[str, Any]:
    start = time.perf_counter()
    completion = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
    seconds = time.perf_counter() - start
    return {"question": question, "answer": completion.choices[0].message.content, "seconds": round(seconds, 3)}
