"""The log, and the actor's own history."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .host import interface
from .output import log

_host = interface("runtime")


@dataclass(frozen=True)
class HistoryEvent:
    """An event of the actor's own history."""

    hash: int
    """The first 8 bytes of the event's hash."""
    parent: int | None
    """The same of the event before it; `None` for the first event."""
    type: str
    data: Any


def history() -> list[HistoryEvent]:
    """The actor's own history up to this call: its newest events, oldest first."""
    events = _host.get_chain().events
    return [
        HistoryEvent(it.hash, it.event.parent, it.event.event_type, json.loads(it.event.data) if it.event.data else None)
        for it in events
    ]


__all__ = ["HistoryEvent", "history", "log"]
