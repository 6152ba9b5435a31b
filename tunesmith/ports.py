"""A port for a server that another process begins a few seconds later."""

from __future__ import annotations

import random
import socket
from pathlib import Path

__all__ = ["free_port"]

_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUALLY_GIVEN_FROM = 49_152
_LOWEST, _TRIES = 10_000, 100


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port of `host` ("" for all addresses) that nobody listens on, and that the system gives to nobody either.

    The ports that it hands out by itself, to connections and to servers that ask for any, are left alone: until the
    server begins one of them may be gone.
    """
    try:
        given_from = int(_GIVEN.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        given_from = _USUALLY_GIVEN_FROM
    ports = range(_LOWEST, given_from)
    for port in random.SystemRandom().sample(ports, min(_TRIES, len(ports))):
        if _listens_nobody(host, port):
            return port
    with socket.socket() as probe:  # where all ports are handed out
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _listens_nobody(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
