"""What keeps a server safe from those who can reach it."""

from __future__ import annotations

import ipaddress
import socket

from pydantic import Field

from tunesmith.errors import EngineError
from tunesmith.types.base import Value

__all__ = ["Guard", "require_guarded"]


class Guard(Value):
    """Whether requests need a key, how many answers may be under way or waiting, how many bytes a body and an
    uploaded file may have.
    """

    keys: bool = True
    max_pending: int = Field(default=2_048, ge=1)
    max_body_bytes: int = Field(default=32 << 20, ge=1)
    max_upload_bytes: int = Field(default=513 << 20, ge=1)


def require_guarded(guard: Guard, host: str) -> None:
    """Raise EngineError when other machines could reach `host` and no keys are asked for."""
    if not guard.keys and not _is_loopback(host):
        raise EngineError(
            f"Without keys anybody who reaches {host} could use this server.",
            hint="Listen on 127.0.0.1, or leave out --no-keys and make keys with: tunesmith keys create",
        )


def _is_loopback(host: str) -> bool:
    try:
        found = [address[0] for *_, address in socket.getaddrinfo(host, None)] if host else []
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback for one in found)
