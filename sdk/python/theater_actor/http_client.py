"""HTTP requests to other servers. Needs the handler `http-client` in the manifest."""

from __future__ import annotations

from wit_world.imports import http_client as _host
from wit_world.imports import http_types as _types

from .host import called
from .http import HttpRequest, HttpResponse


def send(request: HttpRequest) -> HttpResponse:
    """Sends a request, and returns the response. Raises a `HostError` if there is none."""
    asked = _types.HttpRequest(request.method, request.uri, list(request.headers), request.body)
    got = called(lambda: _host.send_http(asked))
    return HttpResponse(got.status, list(got.headers), got.body)
