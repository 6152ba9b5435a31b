"""tunesmith eval: suites asked of any number of models, and what came out: run, report, compare, list."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tunesmith.cli.options import UNUSABLE, AsJson, options_from, read_settings, text_of
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from tunesmith.cli.eval_models import Reached, Shots
    from tunesmith.types.report import EvaluationReport
    from tunesmith.types.suite import Suite

__all__ = ["Flags", "app", "compare", "import_garak", "list_all", "report", "run"]

app = typer.Typer(
    help="Ask suites of several models; report and compare them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FOLDER = "evaluations"
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="What `eval run` wrote.", show_default=False)]


class Flags(NamedTuple):
    """The options of `eval run`."""

    suites: Annotated[
        list[str], typer.Argument(metavar="SUITE...", help="Suite files, or names from `tunesmith eval list`.")
    ]
    model: Annotated[
        list[str],
        typer.Option(
            help="A release, base (untuned), or NAME@URL of any server; LABEL= before it names it, +prompt and +3shots "
            "behind it ask it in that way. Repeatable: all answer the same items.",
            show_default=False,
        ),
    ]
    out: Annotated[Path | None, typer.Option(help="Where the results go; default: a folder of TUNESMITH_HOME.")] = None
    system: Annotated[str | None, typer.Option(help="The system prompt of +prompt: a text, or @FILE.")] = None
    examples: Annotated[
        str | None, typer.Option(help="The suite that +Kshots takes examples from: items that are not asked.")
    ] = None
    base: Annotated[str | None, typer.Option(help="The untuned model `base`; default: the newest release's.")] = None
    judge: Annotated[str | None, typer.Option(help="NAME@URL of the model that judges.")] = None
    key_env: Annotated[str, typer.Option(help="Environment variable with the key of servers at a URL.")] = (
        "OPENAI_API_KEY"
    )
    limit: Annotated[int, typer.Option(min=0, help="Ask so many items of each suite, drawn by its seed; 0: all.")] = 0
    concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight.")] = 16
    as_json: AsJson = False


@app.command("run")
@options_from(Flags)
def run(flags: Flags) -> None:
    """Ask suites of models; every figure has its uncertainty.

    Answers are kept: a run that was stopped goes on where it was, and a repeated one asks nothing.
    For example: tunesmith eval run capitals.yaml --model base --model disputes --model gpt-4o@https://api.openai.com/v1
    """
    from tunesmith.cli.eval_models import choice, reached
    from tunesmith.evaluate.judges import require_judges
    from tunesmith.evaluate.questioning import reads_logprobs
    from tunesmith.evaluate.report.suite_files import FORMATS, write_evaluation, write_reports
    from tunesmith.types.base import digest_json

    home = read_settings().home
    suites = [_suite(name, flags) for name in flags.suites]
    choices = [choice(written) for written in flags.model]
    labels = [each.label for each in choices]
    _require_distinct("--model", labels, "write LABEL= before one of them")
    _require_distinct("SUITE", [suite.name for suite in suites], "give one another `suite:` name")
    for suite in suites:
        require_judges(suite, labels, server="@http" in (flags.judge or ""))
    scored = any(reads_logprobs(suite) for suite in suites)
    given = _shots(flags, suites)
    with reached(choices, home, given, base=flags.base, key_variable=flags.key_env, scored=scored) as models:
        reports = asyncio.run(_run(flags, suites, models, home))
    turns = [turn.model_dump(mode="json") for turn in given.turns]
    asked = [[suite.content_digest() for suite in suites], flags.model, flags.limit, given.system, flags.base, turns]
    folder = flags.out or home / FOLDER / f"{suites[0].name}-{digest_json(asked)[:12]}"
    for each in reports.values():
        write_evaluation(each, folder)
    written = write_reports(reports, folder, tuple(FORMATS))
    if flags.as_json:
        show_json(
            {"folder": folder, "reports": written, "suites": {name: _plain(each) for name, each in reports.items()}}
        )
        return
    _show(reports)
    stdout().print(f"open: {written['html']}", markup=False, soft_wrap=True)


@app.command("report")
def report(
    folder: Folder,
    formats: Annotated[str, typer.Option("--format", help="Which, of html,md,json,junit.")] = "html,md,json,junit",
    as_json: AsJson = False,
) -> None:
    """Write the reports of an evaluation anew: HTML, Markdown, JSON, JUnit XML."""
    from tunesmith.evaluate.report.suite_files import read_evaluations, write_reports

    written = write_reports(read_evaluations(folder), folder, [each.strip() for each in formats.split(",")])
    if as_json:
        show_json(written)
        return
    for path in written.values():
        typer.echo(path)


@app.command("compare")
def compare(
    before: Folder,
    after: Folder,
    model: Annotated[str | None, typer.Option(help="Which model of both; default: the last of each.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two evaluations of the same suites, item by item.

    Exit code for scripts: 0 nothing is worse beyond chance, 1 something is.
    """
    from tunesmith.evaluate.analysis.between import between, is_worse
    from tunesmith.evaluate.report.suite_files import read_evaluations

    old, new = read_evaluations(before), read_evaluations(after)
    merged = between(old, new, model)
    worse = [each for each in merged.values() for found in each.comparisons if is_worse(found)]
    if as_json:
        show_json(
            {name: [found.model_dump(mode="json") for found in each.comparisons] for name, each in merged.items()}
        )
    else:
        _show(merged)
        for where, only in ((before, old.keys() - new.keys()), (after, new.keys() - old.keys())):
            if only:
                typer.echo(f"not compared, as only {where} has it: {', '.join(sorted(only))}")
    raise typer.Exit(1 if worse else 0)


@app.command("garak")
def import_garak(
    scan: Annotated[Path, typer.Argument(metavar="REPORT", help="garak's NAME.report.jsonl.", show_default=False)],
    name: Annotated[str, typer.Option(help="What the model is called; default: as garak calls it.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where the results go; default: a folder of TUNESMITH_HOME.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read a scan by garak as an evaluation: attack success by probe and detector, with intervals."""
    from tunesmith.evaluate.garak_report import read_garak
    from tunesmith.evaluate.report.suite_files import FORMATS, write_evaluation, write_reports

    found = read_garak(scan, name)
    folder = out or read_settings().home / FOLDER / f"garak-{found.dataset_digest[:12]}"
    write_evaluation(found, folder)
    written = write_reports({found.split: found}, folder, tuple(FORMATS))
    if as_json:
        show_json({"folder": folder, "reports": written, "suites": {found.split: _plain(found)}})
        return
    _show({found.split: found})
    stdout().print(f"open: {written['html']}", markup=False, soft_wrap=True)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the suites that Tunesmith ships, and the evaluations of this machine."""
    from tunesmith.evaluate.suite import load_suite
    from tunesmith.recipes import suite_file, suite_names

    shipped = {name: load_suite(suite_file(name, Path())) for name in suite_names()}
    place = read_settings().home / FOLDER
    made = sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
    if as_json:
        facts = {name: {"items": len(suite.items), "description": suite.description} for name, suite in shipped.items()}
        show_json({"suites": facts, "evaluations": made})
        return
    for name, suite in shipped.items():
        typer.echo(f"{name}: {len(suite.items)} items. {suite.description}")
    for path in made:
        typer.echo(path)


async def _run(flags: Flags, suites: list[Suite], models: list[Reached], home: Path) -> dict[str, EvaluationReport]:
    from tunesmith.evaluate.answer_store import FOLDER as ANSWERS
    from tunesmith.evaluate.answer_store import AnswerStore
    from tunesmith.evaluate.http_subject import HttpSubject
    from tunesmith.evaluate.running import RunOptions, run_suite
    from tunesmith.grade.judge import HttpJudge

    progress, answers = RichProgress(), AnswerStore(home / ANSWERS)
    options = RunOptions(concurrency=flags.concurrency, limit=flags.limit)
    async with AsyncExitStack() as stack:
        subjects = [
            await stack.enter_async_context(HttpSubject(each.label, each.address, each.prompting)) for each in models
        ]
        url = (flags.judge or "").partition("@http")[2]
        judge = await stack.enter_async_context(HttpJudge(f"http{url}", flags.key_env)) if url else None
        return {suite.name: await run_suite(suite, subjects, options, progress, judge, answers) for suite in suites}


def _require_distinct(option: str, names: list[str], fix: str) -> None:
    """Raises RecipeError for names that are there twice: results are kept by them, and one would hide the other."""
    from tunesmith.errors import Problem, RecipeError

    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        problems = [Problem(f"{name!r} is given twice", file=option, fix=fix) for name in twice]
        raise RecipeError(problems, message=UNUSABLE)


def _suite(name: str, flags: Flags) -> Suite:
    from tunesmith.evaluate.suite import judged_by

    suite = _load_suite(name, "SUITE")
    if not flags.judge:
        return suite
    model, _, address = flags.judge.partition("@http")
    return judged_by(suite, model, f"http{address}" if address else None, flags.key_env)


def _load_suite(name: str, option: str) -> Suite:
    """The suite in the file `name`, or that Tunesmith ships as `name`. Raises RecipeError, with the nearest match."""
    from tunesmith.errors import Problem, RecipeError
    from tunesmith.evaluate.suite import load_suite
    from tunesmith.recipes import suite_choices, suite_file

    path = suite_file(name, Path())
    if not path.is_file():
        fix = suite_choices(name, Path(name).parent)
        raise RecipeError([Problem(f"{name!r}: no such suite", file=option, fix=fix)], message=UNUSABLE)
    return load_suite(path)


def _shots(flags: Flags, suites: list[Suite]) -> Shots:
    """What +prompt and +Kshots stand for. An example that is asked itself would give its answer away."""
    from tunesmith.cli.eval_models import Shots
    from tunesmith.evaluate.prompting import few_shot, not_asked

    system = text_of(flags.system, "--system") if flags.system else flags.system
    items = _load_suite(flags.examples, "--examples").items if flags.examples else ()
    fit = not_asked(items, [item for suite in suites for item in suite.items])
    return Shots(system, few_shot(fit, len(fit)), asked=len(items) - len(fit))


def _plain(found: EvaluationReport) -> dict[str, object]:
    """Scores and comparisons, without the rows."""
    scores = {each.name: each.scores for each in found.contestants}
    return {"items": found.rows, "scores": scores, "comparisons": found.comparisons}


def _show(reports: dict[str, EvaluationReport]) -> None:
    from tunesmith.cli import tables

    console = stdout()
    for name, found in reports.items():
        console.print(f"suite {name}: {found.rows} item{'' if found.rows == 1 else 's'}", markup=False)
        console.print(tables.contestants_table(found))
        if found.comparisons:
            console.print(tables.comparisons_table(found, {each.name for each in found.contestants}))
        missing = sum(bool(row.error) for each in found.contestants for row in each.predictions)
        if missing:
            console.print(f"{missing} answers could not be had and are unscored; report.md names them", markup=False)
