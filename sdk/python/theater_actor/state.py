"""What an actor gets before a call: its state and its message, as the types that its class names."""

from __future__ import annotations

import json
import typing
from typing import Any

from .actor import Actor
from .data import Mismatch, from_json
from .refusal import refuse


class Reader:
    """Reads for one class of actors."""

    def __init__(self, actor_class: type) -> None:
        self._class = actor_class
        self._request = _message_type(actor_class.handle_request)  # type: ignore[attr-defined]
        has_own_send = actor_class.handle_send is not Actor.handle_send  # type: ignore[attr-defined]
        self._send = _message_type(actor_class.handle_send) if has_own_send else self._request  # type: ignore[attr-defined]
        self._timer = _message_type(actor_class.handle_timer)  # type: ignore[attr-defined]
        # What cannot be read is said when the actor is built, and not when the first state is there.
        typing.get_type_hints(actor_class)

    def actor(self, state: bytes | None) -> Any:
        """The actor with this state."""
        if state is None:
            return self._class()
        try:
            return from_json(self._class, json.loads(state))
        except Mismatch as mismatch:
            raise TypeError(f"the state is not that of {self._class.__name__}: {mismatch}") from None

    def request(self, message: bytes) -> Any:
        """A message for `handle_request`."""
        return _received(self._request, message)

    def send(self, message: bytes) -> Any:
        """A message for `handle_send`."""
        return _received(self._send, message)

    def timer(self, message: bytes) -> Any:
        """The message of a timer."""
        return from_json(self._timer, json.loads(message))


def _message_type(method: Any) -> Any:
    """The type that a method names for its parameter `message`."""
    return typing.get_type_hints(method).get("message", Any)


def _received(kind: Any, message: bytes) -> Any:
    """The message that another actor sent. What is no JSON, or of another type, is refused."""
    try:
        value = json.loads(message)
    except ValueError as error:
        refuse(f"the message is no JSON: {error}")
    try:
        return from_json(kind, value)
    except Mismatch as mismatch:
        refuse(f"the message {mismatch}" if mismatch.at else f"the message: {mismatch}")
