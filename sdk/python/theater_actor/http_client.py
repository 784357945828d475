"""HTTP requests to other servers. Needs the handler `http-client` in the manifest, which may also name headers with secrets that
the runtime adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .data import to_json
from .host import called, interface
from .http import HttpRequest, HttpResponse

_host = interface("http_client", "http-client")
_types = interface("http_types", "http-client")


def send(request: HttpRequest) -> HttpResponse:
    """Sends a request, and returns the response, which may have any status. Raises a `HostError` if there is none."""
    asked = _types.HttpRequest(request.method, request.uri, list(request.headers), request.body)
    got = called(lambda: _host.send_http(asked))
    return HttpResponse(got.status, list(got.headers), got.body)


Headers = Mapping[str, str] | Iterable[tuple[str, str]]


def request(method: str, url: str, *, headers: Headers = (), json: Any = None, body: bytes | None = None) -> HttpResponse:
    """Sends a request with these headers, and with a body: bytes, or a value as JSON."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if json is not None:
        pairs.append(("content-type", "application/json"))
        body = to_json(json)
    return send(HttpRequest(method, url, pairs, body))


def get(url: str, *, headers: Headers = ()) -> HttpResponse:
    """Sends a GET request."""
    return request("GET", url, headers=headers)


def post(url: str, *, headers: Headers = (), json: Any = None, body: bytes | None = None) -> HttpResponse:
    """Sends a POST request."""
    return request("POST", url, headers=headers, json=json, body=body)
