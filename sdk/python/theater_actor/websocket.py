"""Messages of WebSocket clients, and to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WebSocketMessage:
    """A message of a WebSocket client, or to one."""

    kind: str
    """`text`, `binary`, `connect`, `close`, `ping` or `pong`."""
    text: str | None = None
    """The payload of `text`."""
    data: bytes | None = None
    """The payload of `binary`, `ping` and `pong`."""


def text_message(text: str) -> WebSocketMessage:
    """A text for a client."""
    return WebSocketMessage("text", text=text)


def binary_message(data: bytes) -> WebSocketMessage:
    """Bytes for a client."""
    return WebSocketMessage("binary", data=data)


def close_message() -> WebSocketMessage:
    """Closes the connection, after the messages before it."""
    return WebSocketMessage("close")


def from_host(message: Any) -> WebSocketMessage:
    """A message as the host gives it. Its kind is the name of a class: `MessageType_Text`."""
    kind = type(message.ty).__name__.rpartition("_")[2].lower()
    return WebSocketMessage(message.ty.value if kind == "other" else kind, message.text, message.data)


def to_host(message: WebSocketMessage, types: Any) -> Any:
    """A message as the host takes it, with the classes of one of its interfaces."""
    if message.kind not in ("text", "binary", "connect", "close", "ping", "pong"):
        raise ValueError(f'"{message.kind}" is no kind of message for a WebSocket client')
    kind = getattr(types, f"MessageType_{message.kind.capitalize()}")()
    return types.WebsocketMessage(kind, message.data, message.text)
