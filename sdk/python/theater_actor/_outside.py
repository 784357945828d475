"""The host as a test outside of a component sees it: every call goes to the `theater_actor.testing.Host` of the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable


@dataclass(frozen=True)
class Err(Exception):
    """An error of the host, as a component gets it."""

    value: Any


@dataclass
class Ok:
    """The good case of a result."""

    value: Any


class Record:
    """A value of a record or of a variant that goes to the host."""

    fields: tuple[str, ...] = ()

    def __init__(self, *values: Any, **named: Any) -> None:
        self.__dict__.update(zip(self.fields, values), **named)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


_FIELDS = {
    "HttpRequest": ("method", "uri", "headers", "body"),
    "HttpResponse": ("status", "headers", "body"),
    "WebsocketMessage": ("ty", "data", "text"),
    "NotQueued": ("connection", "reason"),
    "PendingTimer": ("key", "due", "round"),
    "Page": ("rows", "cursor"),
    "Row": ("key", "value"),
}

_interfaces: dict[str, Any] = {}

answer: Callable[[str, list[Any]], Any] | None = None
"""What answers the calls of the test that runs."""


class _Interface:
    """An interface of the host, whose functions are made as they are asked for."""

    def __init__(self, name: str) -> None:
        self._name = name.replace("_", "-")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name[0].isupper():
            made = type(name, (Record,), {"fields": _FIELDS.get(name, ("value",))})
            setattr(self, name, made)
            return made
        function = f"{self._name}.{name.rstrip('_').replace('_', '-')}"

        def call(*params: Any) -> Any:
            if answer is None:
                raise RuntimeError(
                    f"{function} was called outside of Theater: run the test within `with theater_actor.testing.Host():`"
                )
            return answer(function, list(params))

        return call


def interface(name: str) -> Any:
    """An interface, always the same object."""
    return _interfaces.setdefault(name, _Interface(name))
