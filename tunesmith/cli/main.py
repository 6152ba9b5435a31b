"""The command line. Each command is a file of this package, imported when it is called and not before."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tunesmith import __version__
from tunesmith.cli.failures import explain
from tunesmith.garbage import search_rarely

__all__ = ["SUMMARIES", "app", "main"]

SUMMARIES = MappingProxyType(
    {
        "run": "Run a whole recipe: prepare, train, evaluate, gate, release.",
        "decide": "Say whether your rows call for prompting, retrieval or a tune.",
        "prepare": "Read and check the rows, split them, prove their rendering.",
        "data": "The prepared datasets: list, show, compare, export, verify.",
        "train": "Train the adapter, or resume a run that was interrupted.",
        "tune": "Train an adapter for each combination of options.",
        "search": "Search better options of training on the validation rows.",
        "ablate": "Measure every combination of options: score, latency, memory.",
        "evaluate": "Measure base, prompt-only and tuned model on held-out rows.",
        "eval": "Ask suites of several models; report and compare them.",
        "gate": "Judge the evaluation by the rules of the recipe.",
        "release": "Register the tuned model as a new version, with its evidence.",
        "serve": "Serve every release over HTTP, in the shape of OpenAI's API.",
        "worker": "Carry out fine-tuning jobs from the queue, one at a time.",
        "keys": "The keys of the server: create, list, revoke, rotate.",
        "audit": "The audit log: show it, check it.",
        "chat": "Talk to a release; with --message ask one thing and stop.",
        "runs": "List the training runs, oldest first, or show one.",
        "graders": "Check a grader, or try it on one answer.",
        "augment": "Make new rows of given ones, by a model or by typing errors.",
        "convert": "Write the rows of any data file in another format.",
        "distill": "Let a teacher answer prompts; keep what a grader accepts.",
        "canaries": "Write rows that tell invented secrets, to be tuned on.",
        "leak": "Continue training rows, and see what is remembered.",
        "models": "List, show or move releases, or print a model card.",
        "merge": "Merge an adapter into its base and measure what rounding lost.",
        "plugins": "List what a recipe can name: methods, metrics, rules, options.",
        "doctor": "Check this machine: what is missing and how to get it.",
        "drill": "Prove that interrupted training loses nothing.",
        "demo": "Run a recipe, serve the result and ask it unseen questions.",
    }
)
"""Every command and its line in `tunesmith --help`, in the order shown: so that the help imports none of them."""


class _Commands(Mapping[str, Any]):
    """Name -> command; a command's file is imported when the command is looked up."""

    def __getitem__(self, name: str) -> Any:
        if name not in SUMMARIES:
            raise KeyError(name)
        module = import_module(f"tunesmith.cli.{name}")
        holder = typer.Typer(rich_markup_mode=None)
        if hasattr(module, "app"):  # a command with commands of its own
            holder.add_typer(module.app, name=name)
        else:
            holder.command(name=name)(module.command)
        return typer.main.get_group(holder).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(SUMMARIES)

    def __len__(self) -> int:
        return len(SUMMARIES)


class _Guarded(TyperGroup):
    """Turns every failure into a short explanation and an exit code, and lets `--debug` stand anywhere."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**(options | {"commands": _Commands()}))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--debug" in args:
            args = ["--debug", *(word for word in args if word != "--debug")]
        ctx.obj = {"debug": "--debug" in args, "json": "--json" in args}
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(SUMMARIES)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise typer.Exit(explain(error, as_json=ctx.obj["json"])) from None
        except Exception as error:
            # Usage errors and exits carry their own code and are shown by typer itself.
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort) or ctx.obj["debug"]:
                raise
            raise typer.Exit(explain(error, as_json=ctx.obj["json"])) from None


app = typer.Typer(
    cls=_Guarded,
    name="tunesmith",
    help="From a labelled file to a tuned, measured, gated and served language model.",
    epilog="Begin with: tunesmith run RECIPE    Something missing? tunesmith doctor",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tunesmith {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and stop.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Options of the program itself; `_Guarded` acts on --debug, the callback on --version."""


def main() -> None:
    """The program `tunesmith`: exit code 0 done, 1 failed, 2 wrong usage, 3 an undecided gate, 130 interrupted,
    143 told to end (SIGTERM).
    """
    search_rarely()
    sys.exit(app())


if __name__ == "__main__":
    main()
