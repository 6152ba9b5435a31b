"""tunesmith serve: the OpenAI-compatible server."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tunesmith.cli.backend_options import BackendOptions, backend_spec
from tunesmith.cli.options import AsJson, options_from, read_settings
from tunesmith.cli.output import RichProgress, show_json
from tunesmith.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunesmith.release.registry import Registry
    from tunesmith.serve.platform import Platform

__all__ = ["ServeFlags", "choose_base", "command"]


class ServeFlags(NamedTuple):
    """The options of `tunesmith serve`."""

    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000
    base: Annotated[str | None, typer.Option(help="Base model to serve; default: the newest release's.")] = None
    device: Annotated[str, typer.Option(help="Where the model computes: auto, cpu, cuda or cuda:1.")] = "auto"
    backend: Annotated[str, typer.Option(help="What computes the answers; tunesmith plugins lists them.")] = "embedded"
    backend_option: BackendOptions = None
    no_keys: Annotated[bool, typer.Option("--no-keys", help="Ask for no key; only for programs of this machine.")] = (
        False
    )
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Carry out fine-tuning jobs too.")] = True
    max_pending: Annotated[int, typer.Option(help="Most answers waiting or under way; above it: 429.", min=1)] = 2_048
    max_body_mib: Annotated[int, typer.Option(help="Largest body of a request, uploads apart.", min=1)] = 32
    as_json: AsJson = False


@options_from(ServeFlags)
def command(flags: ServeFlags) -> None:
    """Serve every release over HTTP, in the shape of OpenAI's API.

    The first start makes an administrator's key and shows it this once; tunesmith keys makes others.
    """
    settings = read_settings()
    from tunesmith.jobs.processes import bind_to_parent
    from tunesmith.jobs.supervisor import own_worker
    from tunesmith.models.weights import resolve_base
    from tunesmith.release.registry import Registry
    from tunesmith.serve.guard import require_guarded
    from tunesmith.serve.platform import open_platform
    from tunesmith.serve.stage import ServeOptions, open_service, serve
    from tunesmith.types.recipe import ModelSpec

    bind_to_parent()
    backend = backend_spec(flags.backend, flags.device, flags.backend_option)
    options = ServeOptions(
        host=flags.host,
        port=flags.port,
        backend=backend,
        keys=not flags.no_keys,
        max_pending=flags.max_pending,
        max_body_bytes=flags.max_body_mib << 20,
    )
    require_guarded(options, options.host)  # before a model is loaded for minutes
    platform = open_platform(settings)
    registry = Registry(settings.home, platform.database)
    try:
        spec = ModelSpec(base=flags.base or choose_base(registry))
        files = resolve_base(spec, settings.home, RichProgress())
        service = open_service(files, platform, options)
        with own_worker(settings) if flags.worker else nullcontext():
            serve(service, options, _announce(registry, platform, flags))
    finally:
        platform.close()


def choose_base(registry: Registry) -> str:
    """The base of the newest release. Raises NotFound when there is none."""
    releases = registry.list()
    if not releases:
        raise NotFound(
            "There is no release to serve.",
            hint="Make one with: tunesmith run RECIPE, or serve an untuned model with --base.",
        )
    return max(releases, key=lambda release: release.created).base


def _announce(registry: Registry, platform: Platform, flags: ServeFlags) -> Callable[[str], None]:
    def ready(url: str) -> None:
        names = [release.reference for release in registry.list()]
        key = None if flags.no_keys else platform.keys.first_key()
        if flags.as_json:
            show_json({"url": f"{url}/v1", "models": names, "key": key})
            return
        typer.echo(f"Serving at {url}/v1 (stop with Ctrl-C)")
        typer.echo(f"models: {', '.join(names) or 'the base only'}")
        if key:
            typer.echo(
                f"key: {key}\nKeep it: it is an administrator's and is not shown again. Others: tunesmith keys create"
            )
        else:
            typer.echo(
                "key: none is needed here" if flags.no_keys else "key: as before; new ones: tunesmith keys create"
            )

    return ready
