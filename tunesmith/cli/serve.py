"""tunesmith serve: the OpenAI-compatible server."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import show_json

__all__ = ["command"]


def command(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
    as_json: AsJson = False,
) -> None:
    """Serve every release over HTTP, in the shape of OpenAI's API."""
    from tunesmith.serve.stage import serve

    if as_json:
        show_json({"url": f"http://{host}:{port}/v1"})
    serve(read_settings(), host, port)
