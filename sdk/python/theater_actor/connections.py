"""WebSocket clients that the actor can send to at any time, by their ids. Needs the handler `websocket-server`, and the method
`handle_connection`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .host import called, interface
from .websocket import WebSocketMessage, to_host

_host = interface("connections", "websocket-server")
_types = interface("websocket_types", "websocket-server")


@dataclass(frozen=True)
class NotQueued:
    """A connection for which a message was not queued: it is gone, or its client reads too slowly."""

    connection: int
    reason: Literal["gone", "full"]


def push(to: Iterable[int], message: WebSocketMessage) -> list[NotQueued]:
    """Sends a message to each of these connections. Returns those that do not get it. Raises a `HostError` if nobody can get
    it."""
    missed = called(lambda: _host.push(list(to), to_host(message, _types)))
    return [NotQueued(it.connection, it.reason.name.lower()) for it in missed]


def close(connection: int, code: int = 1000) -> bool:
    """Closes a connection, after everything that was sent to it before. Tells whether it was open."""
    return called(lambda: _host.close(connection, code))


def connections() -> list[int]:
    """The ids of all open connections, in ascending order."""
    return list(_host.connections())
