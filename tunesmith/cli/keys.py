"""tunesmith keys: make, list, revoke and rotate the keys of the server, whether it runs or not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tunesmith.cli.options import AsJson, open_database, options_from
from tunesmith.cli.output import show_json, stdout

if TYPE_CHECKING:
    from tunesmith.types.key import Grant, Key, NewKey

__all__ = ["CreateFlags", "app", "create", "list_all", "revoke", "rotate"]

app = typer.Typer(
    help="The keys of the server: create, list, revoke, rotate.", no_args_is_help=True, rich_markup_mode=None
)

_DAY = 86_400

Identity = Annotated[str, typer.Argument(metavar="KEY", help="The key's id: key_…", show_default=False)]


class CreateFlags(NamedTuple):
    """The options of `tunesmith keys create`."""

    name: Annotated[str, typer.Option(help="Who or what will use it.")] = "key"
    project: Annotated[str, typer.Option(help="Whose files, jobs and models it sees.")] = "default"
    role: Annotated[str, typer.Option(help="read, member or admin.")] = "member"
    scope: Annotated[
        list[str] | None, typer.Option(help="Only this part of the interface, for example inference. Repeatable.")
    ] = None
    days: Annotated[float | None, typer.Option(help="How long it works; default: for ever.", min=0)] = None
    requests_per_minute: Annotated[int | None, typer.Option(help="Most requests in a minute.")] = None
    tokens_per_minute: Annotated[int | None, typer.Option(help="Most tokens in a minute.")] = None
    token_budget: Annotated[int | None, typer.Option(help="Most tokens in all.")] = None
    as_json: AsJson = False


@app.command()
@options_from(CreateFlags)
def create(flags: CreateFlags) -> None:
    """Make a key. It is shown this once; the database keeps only its hash."""
    grant = _grant(flags)
    from tunesmith.store.keys import add_key

    with open_database() as session:
        made = add_key(session, grant, int(time.time()))
    _show_new(made, flags.as_json)


@app.command("ls")
def list_all(as_json: AsJson = False) -> None:
    """List the keys: what they may do and what they have used."""
    from tunesmith.cli import tables
    from tunesmith.store.keys import all_keys

    with open_database() as session:
        keys = all_keys(session)
    if as_json:
        show_json(keys)
        return
    if not keys:
        stdout().print("No keys yet. tunesmith serve makes the first; others: tunesmith keys create", markup=False)
        return
    table = tables.grid("Keys", "id", "name", "project", "role", "scopes", "state", "tokens spent")
    for column in table.columns[:-1]:
        column.justify = "left"
    for key in keys:
        spent = f"{key.tokens_spent:,}" + (f" of {key.limits.token_budget:,}" if key.limits.token_budget else "")
        table.add_row(key.id, key.name, key.project, key.role, ", ".join(key.scopes) or "all", _state(key), spent)
    stdout().print(table)


@app.command()
def revoke(key: Identity, as_json: AsJson = False) -> None:
    """End a key; a running server refuses it within a second."""
    from tunesmith.store.keys import revoke_key

    with open_database() as session:
        revoked = revoke_key(session, key, int(time.time()))
    if as_json:
        show_json(revoked)
    else:
        stdout().print(f"{revoked.id} ({revoked.name}) opens nothing any more.", markup=False)


@app.command()
def rotate(
    key: Identity,
    overlap_days: Annotated[float, typer.Option(help="How long the old key goes on.", min=0, max=30)] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Make a key that may do the same; the old one goes on for a while, so that clients can change over."""
    from tunesmith.store.keys import rotate_key

    with open_database() as session:
        made = rotate_key(session, key, int(overlap_days * _DAY), int(time.time()))
    _show_new(made, as_json)


def _grant(flags: CreateFlags) -> Grant:
    """Raises RecipeError with everything that is wrong with the options."""
    from pydantic import ValidationError

    from tunesmith.errors import Problem, RecipeError
    from tunesmith.types.key import GrantRequest

    limits = {name: getattr(flags, name) for name in ("requests_per_minute", "tokens_per_minute", "token_budget")}
    fields: dict[str, Any] = {
        "name": flags.name,
        "project": flags.project,
        "role": flags.role,
        "scopes": tuple(flags.scope or ()),
        "expires_at": None if flags.days is None else (time.time() + flags.days * _DAY) // 1,  # checked: may be inf
        "limits": limits,
    }
    try:
        return GrantRequest.model_validate(fields)
    except ValidationError as error:
        wrong = [Problem(f"{one['msg']}, found {one['input']!r}", field=_flag(one["loc"])) for one in error.errors()]
        raise RecipeError(wrong, message="No key was made:") from None


def _flag(location: tuple[int | str, ...]) -> str:
    names = [str(part) for part in location if not isinstance(part, int) and part != "limits"]
    name = {"scopes": "scope", "expires_at": "days"}.get(names[0], names[0])
    return "--" + name.replace("_", "-")


def _show_new(made: NewKey, as_json: bool) -> None:
    if as_json:
        show_json({**made.key.model_dump(mode="json"), "key": made.secret})
        return
    typer.echo(made.secret)
    typer.secho(f"{made.key.id}: role {made.key.role}, project {made.key.project}. It is not shown again.", err=True)


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if not key.usable(int(time.time())):
        return "expired"
    from tunesmith.types.key import LAST_SECOND

    if key.expires_at is None:
        return "in use"
    if key.expires_at > LAST_SECOND:  # made before there was a bound
        return "until after the year 9999"
    return "until " + time.strftime("%Y-%m-%d %H:%M", time.gmtime(key.expires_at)) + " UTC"
