"""A limit on how long a library may wait for the network; most of them would wait for ever."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["TIMEOUT_SECONDS", "network_timeout"]

TIMEOUT_SECONDS = 10.0


@contextmanager
def network_timeout() -> Iterator[None]:
    """Give up on a network that swallows everything, whatever the library inside would do."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
