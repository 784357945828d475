"""Answers that are streams, and server-sent events."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass
class StreamAnswer:
    """The beginning of an answer whose body comes later, by `theater_actor.streams`. `handle_stream` returns it."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    first: bytes | None = None
    """The first piece, which is sent with the head."""


@dataclass(frozen=True)
class ServerSentEvent:
    """One server-sent event, which a browser reads by `EventSource`."""

    data: str
    """What the event says. Each line of it is a line of data."""
    event: str | None = None
    """The type of the event; `message` if there is none."""
    id: str | None = None
    """The client names the last id that it has got when it connects again (`Last-Event-ID`)."""
    retry: int | None = None
    """After how many milliseconds the client is to connect again, from now on."""

    def __str__(self) -> str:
        lines = []
        for name, value in (("event", self.event), ("id", self.id)):
            if value is not None:
                # A field is one line: what comes after it would be another field.
                lines.append(f"{name}: {_LINE_END.split(value)[0]}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        lines += [f"data: {line}" for line in _LINE_END.split(self.data)]
        return "\n".join(lines) + "\n\n"


def event_stream(*first: ServerSentEvent) -> StreamAnswer:
    """An answer that is a stream of server-sent events, which begins with `first`."""
    headers = [("content-type", "text/event-stream"), ("cache-control", "no-store")]
    return StreamAnswer(200, headers, "".join(map(str, first)).encode())
