"""Messages to other actors, by their ids or paths."""

from __future__ import annotations

import json
from typing import Any

from .data import to_json
from .host import called, interface

_host = interface("message_server_host")
_later = interface("async_requests")


def send(actor: str, message: Any) -> None:
    """Puts a message into another actor's mailbox. Raises `HostError` if it cannot be put there."""
    called(lambda: _host.send(actor, to_json(message)))


def request(actor: str, message: Any) -> Any:
    """Asks another actor, and waits for its reply. Raises a `HostError` that says why there is none."""
    return json.loads(called(lambda: _host.request(actor, to_json(message))))


def request_async(actor: str, message: Any, deadline_ms: int | None = None) -> int:
    """Asks another actor, and returns a token at once. `handle_reply` gets the token and the answer later. `deadline_ms` says how
    long the answer may take; without it, the limit `request_deadline_ms` does. Raises a `HostError` if nothing was delivered."""
    return called(lambda: _later.request_async(actor, to_json(message), deadline_ms))
