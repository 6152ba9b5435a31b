"""tunesmith serve: the OpenAI-compatible server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import RichProgress, show_json
from tunesmith.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunesmith.release.registry import Registry

__all__ = ["choose_base", "command"]


def command(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    base: Annotated[str | None, typer.Option(help="Base model to serve; default: the newest release's.")] = None,
    device: Annotated[str, typer.Option(help="Where the model computes: auto, cpu, cuda or cuda:1.")] = "auto",
    backend: Annotated[str, typer.Option(help="What computes the answers; tunesmith plugins lists them.")] = "embedded",
    as_json: AsJson = False,
) -> None:
    """Serve every release over HTTP, in the shape of OpenAI's API."""
    settings = read_settings()
    from tunesmith.models.weights import resolve_base
    from tunesmith.release.registry import Registry
    from tunesmith.serve.platform import open_platform
    from tunesmith.serve.stage import ServeOptions, open_service, serve
    from tunesmith.types.recipe import ModelSpec, PluginSpec

    platform = open_platform(settings)
    registry = Registry(settings.home, platform.database)
    try:
        spec = ModelSpec(base=base or choose_base(registry))
        files = resolve_base(spec, settings.home, RichProgress())
        chosen = {"name": backend} | ({"device": device} if backend == "embedded" else {})
        options = ServeOptions(host=host, port=port, backend=PluginSpec.model_validate(chosen))
        serve(open_service(files, platform, options), options, _announce(registry, as_json))
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


def _announce(registry: Registry, as_json: bool) -> Callable[[str], None]:
    def ready(url: str) -> None:
        names = [release.reference for release in registry.list()]
        if as_json:
            show_json({"url": f"{url}/v1", "models": names})
        else:
            typer.echo(f"Serving at {url}/v1 (stop with Ctrl-C)")
            typer.echo(f"models: {', '.join(names) or 'the base only'}")

    return ready
