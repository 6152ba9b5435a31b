"""The command line. Each command is a file of this package; what it needs is imported when it runs, not before."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tunesmith import __version__
from tunesmith.cli import (
    audit,
    augment,
    chat,
    convert,
    data,
    demo,
    distill,
    doctor,
    drill,
    evaluate,
    gate,
    graders,
    keys,
    merge,
    models,
    plugins,
    prepare,
    release,
    run,
    runs,
    serve,
    train,
    tune,
    worker,
)
from tunesmith.cli.failures import explain

__all__ = ["app", "main"]

# Shown in this order by `tunesmith --help`.
_COMMANDS = (
    run,
    prepare,
    data,
    train,
    tune,
    evaluate,
    gate,
    release,
    serve,
    worker,
    keys,
    audit,
    chat,
    runs,
    graders,
    augment,
    convert,
    distill,
    models,
    merge,
    plugins,
    doctor,
    drill,
    demo,
)


def _name(module: ModuleType) -> str:
    """A command is called as its file is."""
    return module.__name__.rpartition(".")[2]


class _Guarded(TyperGroup):
    """Turns every failure into a short explanation and an exit code, and lets `--debug` stand anywhere."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--debug" in args:
            args = ["--debug", *(word for word in args if word != "--debug")]
        ctx.obj = {"debug": "--debug" in args, "json": "--json" in args}
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return [_name(module) for module in _COMMANDS]

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


for _command in _COMMANDS:
    if hasattr(_command, "app"):  # a command with commands of its own
        app.add_typer(_command.app, name=_name(_command))
    else:
        app.command(name=_name(_command))(_command.command)


def main() -> None:
    """The program `tunesmith`: exit code 0 done, 1 failed, 2 wrong usage or an undecided gate, 130 interrupted,
    143 told to end (SIGTERM).
    """
    sys.exit(app())


if __name__ == "__main__":
    main()
