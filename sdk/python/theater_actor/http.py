"""HTTP requests and responses."""

from __future__ import annotations

import json as _json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from .data import Mismatch, from_json, to_json
from .refusal import BadRequest


class _Message:
    headers: list[tuple[str, str]]
    body: bytes | None

    def header(self, name: str) -> str | None:
        """The value of a header, whatever the case of its name; the first one if there are several."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def text(self) -> str:
        """The body as text; the empty text if there is none."""
        return (self.body or b"").decode()

    def json(self, kind: Any = Any) -> Any:
        """The value that the body spells in JSON, as a value of this type. Raises `BadRequest` if it spells none, which refuses
        the call; a `Router` answers it with status 400."""
        try:
            return from_json(kind, _json.loads(self.body or b""))
        except Mismatch as error:
            raise BadRequest(f"the body {error}" if error.at else f"the body: {error}") from None
        except ValueError as error:
            raise BadRequest(f"the body is no JSON: {error}") from None


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

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, by their names."""
        values = [value for name, value in self.headers if name.lower() == "cookie"]
        pairs = (pair.strip().partition("=") for value in values for pair in value.split(";"))
        return {name: value for name, equals, value in pairs if equals}


_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_COOKIE_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")


@dataclass
class HttpResponse(_Message):
    """A response."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None

    def with_header(self, name: str, value: str) -> HttpResponse:
        """The response with one more header."""
        return HttpResponse(self.status, [*self.headers, (name, value)], self.body)

    def with_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool = False,
        http_only: bool = True,
        same_site: str = "Lax",
    ) -> HttpResponse:
        """The response, which also sets a cookie. `max_age` is in seconds; without it, the client keeps it until it ends."""
        if not _COOKIE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a cookie")
        if not _COOKIE_VALUE.fullmatch(value):
            raise ValueError(f"the value of the cookie {name} has characters that it must not have: encode it")
        parts = [f"{name}={value}", f"Path={path}"]
        if max_age is not None:
            parts.append(f"Max-Age={max_age}")
        if domain is not None:
            parts.append(f"Domain={domain}")
        if secure:
            parts.append("Secure")
        if http_only:
            parts.append("HttpOnly")
        parts.append(f"SameSite={same_site}")
        return self.with_header("set-cookie", "; ".join(parts))


def json(status: int, value: Any) -> HttpResponse:
    """A response with a value as JSON."""
    return HttpResponse(status, [("content-type", "application/json")], to_json(value))


def plain(status: int, text: str) -> HttpResponse:
    """A response with plain text."""
    return HttpResponse(status, [("content-type", "text/plain; charset=utf-8")], text.encode())


def html(status: int, page: str) -> HttpResponse:
    """A response with a page."""
    return HttpResponse(status, [("content-type", "text/html; charset=utf-8")], page.encode())


def error(status: int, text: str) -> HttpResponse:
    """A response that tells what is wrong, as `{"error": text}`."""
    return json(status, {"error": text})


def method_not_allowed(allowed: str) -> HttpResponse:
    """A response that says which methods a path has: `method_not_allowed("GET, POST")`."""
    return error(405, f"this path takes {allowed}").with_header("allow", allowed)


def redirect(location: str, status: int = 303) -> HttpResponse:
    """A response that sends the client to another address."""
    return HttpResponse(status, [("location", location)])
