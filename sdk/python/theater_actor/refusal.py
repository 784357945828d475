"""The one kind of exception that refuses a call, and the one that says why the runtime did not do what it was asked."""

from __future__ import annotations

from typing import NoReturn


class Refusal(Exception):
    """Refuses a call: its sender gets the text, and the state stays as it was before the call.

    Any other exception fails the actor, as a panic does in Rust.
    """


class BadRequest(Refusal):
    """Refuses an HTTP request that is not understood. A `Router` answers it with status 400."""


class HostError(Exception):
    """The runtime's answer to a call that it refused, or that failed: its text says why.

    `reason` says what kind of error it is, where an interface names kinds: `gone`, `full` or `refused` for a stream.
    """

    def __init__(self, text: str, reason: str | None = None) -> None:
        super().__init__(text)
        self.reason = reason


def refuse(text: str) -> NoReturn:
    """Refuses the call with this text: `refuse("the till is full")`."""
    raise Refusal(text)
