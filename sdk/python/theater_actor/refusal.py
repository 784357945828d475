"""The one kind of exception that refuses a call, and the one that says why the runtime did not do what it was asked."""

from typing import NoReturn


class Refusal(Exception):
    """Refuses a call: its sender gets the text, and the state stays as it was before the call.

    Any other exception fails the actor, as a panic does in Rust.
    """


class HostError(Exception):
    """The runtime's answer to a call that it refused, or that failed: its text says why."""


def refuse(text: str) -> NoReturn:
    """Refuses the call with this text: `refuse("the till is full")`."""
    raise Refusal(text)
