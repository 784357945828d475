"""Timers: the actor is called later, by `handle_timer`. Needs the handler `timer` in the manifest."""

from __future__ import annotations

from typing import Any

from wit_world.imports import timer as _host

from .host import called
from .http import to_json


def set(key: str, after_ms: int, message: Any = None) -> int:
    """Calls the actor once, after so many milliseconds. Returns when that is, in milliseconds since the Unix epoch."""
    return called(lambda: _host.set(key, after_ms, to_json(message)))


def every(key: str, ms: int, message: Any = None) -> int:
    """Calls the actor again and again, each time after so many milliseconds."""
    return called(lambda: _host.every(key, ms, to_json(message)))


def cron(key: str, expression: str, zone: str = "UTC", message: Any = None) -> int:
    """Calls the actor at the times that a cron expression names: `cron("daily", "0 6 * * *", "Europe/Berlin")`."""
    return called(lambda: _host.cron(key, expression, zone, to_json(message)))


def cancel(key: str) -> bool:
    """Cancels a timer. Tells whether there was one."""
    return _host.cancel(key)
