"""Timers: the actor is called later, by `handle_timer`. Needs the handler `timer` in the manifest.

Of one key there is one timer at most: setting it again replaces it. Times are milliseconds since the Unix epoch. A function that
sets a timer raises a `HostError` if it was not set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .data import to_json
from .host import called, interface

_host = interface("timer", "timer")


@dataclass(frozen=True)
class PendingTimer:
    """A timer that is pending."""

    key: str
    due: int
    """When it is due next."""
    round: int
    """Which round that will be, counted from 1."""


def set(key: str, after_ms: int, message: Any = None) -> int:
    """Calls the actor once, after so many milliseconds. Returns when that is."""
    return called(lambda: _host.set(key, after_ms, to_json(message)))


def set_at(key: str, unix_ms: int, message: Any = None) -> int:
    """Calls the actor once, at a time. A time that has passed is due at once."""
    return called(lambda: _host.set_at(key, unix_ms, to_json(message)))


def every(key: str, ms: int, message: Any = None) -> int:
    """Calls the actor again and again, each time after so many milliseconds."""
    return called(lambda: _host.every(key, ms, to_json(message)))


def cron(key: str, expression: str, zone: str = "UTC", message: Any = None) -> int:
    """Calls the actor at the times that a cron expression names: `cron("daily", "0 6 * * *", "Europe/Berlin")`."""
    return called(lambda: _host.cron(key, expression, zone, to_json(message)))


def cancel(key: str) -> bool:
    """Cancels a timer. Tells whether there was one."""
    return _host.cancel(key)


def pending() -> list[PendingTimer]:
    """The pending timers, in the order in which they are due."""
    return [PendingTimer(it.key, it.due, it.round) for it in _host.list()]
