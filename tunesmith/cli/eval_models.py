"""The models that `tunesmith eval run` compares: how people write them, and how they are reached."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tunesmith.cli.options import UNUSABLE
from tunesmith.cli.output import RichProgress
from tunesmith.errors import Problem, RecipeError, nearest
from tunesmith.types.base import digest_json
from tunesmith.types.conversation import Message

if TYPE_CHECKING:
    from tunesmith.evaluate.asking import PromptRenderer
    from tunesmith.evaluate.http_subject import Address
    from tunesmith.evaluate.prompting import Prompting

__all__ = ["Choice", "Reached", "Shots", "choice", "reached"]

_WRITTEN = re.compile(r"(?:(?P<label>[^=@/]+)=)?(?P<what>.+?)(?P<parts>(?:\+prompt|\+\d+shots?)*)")
BASE = "base"


class Choice(NamedTuple):
    """`LABEL=WHAT+prompt+3shots`: WHAT is a release, `base` (untuned), or NAME@URL of any server."""

    label: str
    what: str
    url: str | None
    prompt: bool
    shots: int


class Shots(NamedTuple):
    """What `+prompt` and `+Kshots` mean: a system prompt, and turns to take examples from; `asked` examples were left
    out, since they are asked themselves.
    """

    system: str | None
    turns: tuple[Message, ...]
    asked: int = 0


class Reached(NamedTuple):
    """A model that can be asked."""

    label: str
    address: Address
    prompting: Prompting


class _Base(NamedTuple):
    """A base model of this machine: the digest of all that its answers depend on, and its template."""

    digest: str
    renderer: PromptRenderer


class _Local(NamedTuple):
    """A model of this machine: what a server calls it, its base, its digest on that base, its own system prompt."""

    name: str
    base: str
    digest: str
    system: str | None


def choice(written: str) -> Choice:
    """What `--model` says. Raises RecipeError."""
    match = _WRITTEN.fullmatch(written.strip())
    if match is None:
        fix = "write a release, base, or NAME@URL; LABEL= before it, +prompt or +3shots behind it"
        raise RecipeError([Problem(f"{written!r} is no model", file="--model", fix=fix)], message=UNUSABLE)
    what, parts = match["what"], match["parts"]
    if "+" in what and "@http" not in what:  # no release's name has a +
        _refuse_way(written, what.partition("+")[2])
    name, _, address = what.partition("@http")
    shots = re.search(r"\+(\d+)shots?", parts)
    return Choice(
        label=match["label"] or name + parts,
        what=name if address else what,
        url=f"http{address}" if address else None,
        prompt="+prompt" in parts,
        shots=int(shots[1]) if shots else 0,
    )


def _refuse_way(written: str, way: str) -> NoReturn:
    close = nearest(way, ("prompt", "3shots"))
    fix = (f"did you mean '+{close}'? " if close else "") + "allowed: +prompt, +3shots (any number)"
    raise RecipeError([Problem(f"{written!r}: +{way} is no way of asking", file="--model", fix=fix)], message=UNUSABLE)


@contextmanager
def reached(
    choices: Sequence[Choice], home: Path, given: Shots, *, base: str | None, key_variable: str, scored: bool
) -> Iterator[list[Reached]]:
    """All models ready to be asked; releases and the base through servers of our own, one for each base model.

    `scored` also gives the renderers that log-probabilities of options need. A local model is known by its weights and
    its template, whatever its folder is called: what is kept of another is not its answer.

    Raises NotFound with the nearest match for an unknown release, RecipeError for a prompt or examples that were not
    given.
    """
    from tunesmith.cli.server_process import running_server
    from tunesmith.evaluate.http_subject import Address

    _require_given(choices, given)
    if given.asked and any(each.shots for each in choices):
        RichProgress().say(f"--examples: {given.asked} are left out, since they are asked themselves")
    local = {each: _local(each, home, base) for each in choices if each.url is None}
    bases = {name: _opened(name, home) for name in {each.base for each in local.values()}}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running_server(home, name)) for name in bases}
        models = []
        for each in choices:
            if each.url is not None:
                address, own = Address(each.url, each.what, key_variable=key_variable), None
            else:
                found = local[each]
                server, opened = servers[found.base], bases[found.base]
                digest = digest_json([found.digest, opened.digest])
                renderer = opened.renderer if scored else None
                address = Address(f"{server.address}/v1", found.name, server.key, digest=digest, renderer=renderer)
                own = found.system
            models.append(Reached(each.label, address, _prompting(each, given, own)))
        yield models


def _require_given(choices: Sequence[Choice], given: Shots) -> None:
    problems = []
    if given.system is None and any(each.prompt for each in choices):
        problems.append(Problem("is missing", file="--system", fix="give the prompt that +prompt stands for"))
    most = max((each.shots for each in choices), default=0)
    if most * 2 > len(given.turns):
        there = len(given.turns) // 2
        also = f", besides {given.asked} that are asked themselves" if given.asked else ""
        fix = f"{there} with an answer are there{also}; name a suite with at least {most} others"
        problems.append(Problem(f"{most} examples are wanted", file="--examples", fix=fix))
    if problems:
        raise RecipeError(problems, message=UNUSABLE)


def _prompting(chosen: Choice, given: Shots, own: str | None) -> Prompting:
    from tunesmith.evaluate.prompting import Prompting

    return Prompting(system=given.system if chosen.prompt else own, examples=given.turns[: 2 * chosen.shots])


def _local(chosen: Choice, home: Path, base: str | None) -> _Local:
    from tunesmith.cli.serve import choose_base
    from tunesmith.release.registry import open_registry
    from tunesmith.settings import Settings

    registry = open_registry(Settings(home=home))
    try:
        if chosen.what == BASE:
            name = base or choose_base(registry)
            return _Local(BASE, name, BASE, None)
        release = registry.get(chosen.what)
        return _Local(release.reference, release.base, release.identity(), release.system_prompt)
    finally:
        registry.close()


def _opened(base: str, home: Path) -> _Base:
    """The base model as it lies there now."""
    from tunesmith import __version__
    from tunesmith.measurement import computed_in
    from tunesmith.models.template import Renderer
    from tunesmith.models.weights import resolve_base
    from tunesmith.types.recipe import ModelSpec

    files = resolve_base(ModelSpec(base=base), home, RichProgress())
    renderer = Renderer(files.path)
    parts = [files.digest, renderer.template_digest, computed_in("auto"), __version__]
    return _Base(digest_json(parts), renderer)
