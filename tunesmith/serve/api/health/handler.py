"""Is the server able to answer?"""

from __future__ import annotations

from tunesmith import __version__
from tunesmith.serve.api.health.protocol import Health
from tunesmith.serve.service import Service

__all__ = ["check"]


def check(service: Service) -> Health:
    """The state of the engine."""
    engine = service.engine
    return Health(
        version=__version__,
        context_length=engine.context_length,
        adapters=engine.adapters(),
        adapter_bytes=engine.adapter_bytes(),
    )
