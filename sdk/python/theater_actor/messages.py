"""Messages to other actors, by their ids or paths."""

from __future__ import annotations

import json
from typing import Any

from wit_world.imports import message_server_host as _host

from .host import called
from .http import to_json


def send(actor: str, message: Any) -> None:
    """Puts a message into another actor's mailbox. Raises `HostError` if it cannot be put there."""
    called(lambda: _host.send(actor, to_json(message)))


def request(actor: str, message: Any) -> Any:
    """Asks another actor, and waits for its reply. Raises a `HostError` that says why there is none."""
    return json.loads(called(lambda: _host.request(actor, to_json(message))))
