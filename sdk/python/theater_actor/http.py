"""HTTP requests and responses."""

from __future__ import annotations

import json as _json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from .refusal import refuse


class _Message:
    headers: list[tuple[str, str]]
    body: bytes | None

    def header(self, name: str) -> str | None:
        """The value of a header, whatever the case of its name; the first one if there are several."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def text(self) -> str:
        """The body as text; the empty text if there is none."""
        return (self.body or b"").decode()

    def json(self) -> Any:
        """The value that the body spells in JSON. Refuses the call if it spells none."""
        try:
            return _json.loads(self.body or b"")
        except ValueError as error:
            refuse(f"the body is no JSON: {error}")


@dataclass
class HttpRequest(_Message):
    """A request, as a server gets it or a client sends it."""

    method: str
    """`GET`, `POST`, … in capital letters."""
    uri: str
    """For a server, the path and the query: `/items?page=2`. For a client, the whole address."""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None

    @property
    def path(self) -> str:
        """The path, without the query."""
        return self.uri.split("?", 1)[0]

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query, decoded. Of a name that is there twice, the last one counts."""
        return dict(parse_qsl(self.uri.partition("?")[2], keep_blank_values=True))


@dataclass
class HttpResponse(_Message):
    """A response."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None


def json(status: int, value: Any) -> HttpResponse:
    """A response with a value as JSON."""
    return HttpResponse(status, [("content-type", "application/json")], to_json(value))


def plain(status: int, text: str) -> HttpResponse:
    """A response with plain text."""
    return HttpResponse(status, [("content-type", "text/plain; charset=utf-8")], text.encode())


def error(status: int, text: str) -> HttpResponse:
    """A response that tells what is wrong, as `{"error": text}`."""
    return json(status, {"error": text})


def method_not_allowed(allowed: str) -> HttpResponse:
    """A response that says which methods a path has: `method_not_allowed("GET, POST")`."""
    response = error(405, f"this path takes {allowed}")
    response.headers.append(("allow", allowed))
    return response


def redirect(location: str, status: int = 303) -> HttpResponse:
    """A response that sends the client to another address."""
    return HttpResponse(status, [("location", location)])


def to_json(value: Any) -> bytes:
    """A value as JSON. Equal values are equal bytes, whatever the order in which keys were added."""
    return _json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
