"""Answers to HTTP requests that are sent piece by piece. Needs the handler `http-server`, and the method `handle_stream`."""

from __future__ import annotations

from .host import called, interface
from .streams_answer import ServerSentEvent

_host = interface("streams", "http-server")


def push(stream: int, piece: bytes | str) -> None:
    """Sends the next piece of a stream. Raises a `HostError` if the client does not get it; its `reason` is `gone`, `full` or
    `refused`."""
    content = piece.encode() if isinstance(piece, str) else piece
    called(lambda: _host.push_chunk(stream, content))


def push_event(stream: int, event: ServerSentEvent) -> None:
    """Sends a server-sent event. Raises as `push` does."""
    push(stream, str(event))


def end(stream: int) -> bool:
    """Ends a stream after all its pieces. Tells whether it was open."""
    return _host.end(stream)


def streams() -> list[int]:
    """The ids of all open streams, in ascending order."""
    return list(_host.streams())
