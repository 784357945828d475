"""A router: which method of an actor answers which HTTP method and path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from .http import HttpRequest, HttpResponse, error, method_not_allowed
from .refusal import BadRequest

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class _Route:
    method: str
    parts: list[str]
    answer: Callable[..., Any]
    integers: frozenset[str]
    """The parameters that the function wants as integers."""


class Router:
    """Which method of an actor answers which HTTP method and path.

        @dataclass
        class Shop(Actor):
            items: dict[int, str] = field(default_factory=dict)
            routes = Router()

            @routes.get("/items/{item}")
            def show(self, request: HttpRequest, item: int) -> HttpResponse:
                return json(200, self.items[item])

            def handle_http(self, request: HttpRequest) -> HttpResponse:
                return self.routes.answer(self, request)

    In a pattern, `{name}` stands for one part of a path, decoded, and `*` at the end for all that follows, as `rest`. A parameter
    that the function declares as `int` must be an integer. Of two patterns that fit, the one that was added first counts.

    A path that no pattern fits is answered with 404, a method that a path does not have with 405, and a `BadRequest` with 400. HEAD is
    answered as GET, without the body.
    """

    def __init__(self) -> None:
        self._routes: list[_Route] = []

    def on(self, method: str, pattern: str) -> Callable[[F], F]:
        """Has the function answer requests with this method, whose path fits the pattern."""
        if not pattern.startswith("/"):
            raise ValueError(f"the pattern {pattern} does not begin with a slash")

        def add(answer: F) -> F:
            hints = {name: hint for name, hint in getattr(answer, "__annotations__", {}).items() if hint in (int, "int")}
            self._routes.append(_Route(method, pattern[1:].split("/"), answer, frozenset(hints)))
            return answer

        return add

    def get(self, pattern: str) -> Callable[[F], F]:
        return self.on("GET", pattern)

    def post(self, pattern: str) -> Callable[[F], F]:
        return self.on("POST", pattern)

    def put(self, pattern: str) -> Callable[[F], F]:
        return self.on("PUT", pattern)

    def patch(self, pattern: str) -> Callable[[F], F]:
        return self.on("PATCH", pattern)

    def delete(self, pattern: str) -> Callable[[F], F]:
        return self.on("DELETE", pattern)

    def answer(self, actor: Any, request: HttpRequest) -> Any:
        """Answers a request."""
        method = "GET" if request.method == "HEAD" else request.method
        parts = request.path[1:].split("/")
        allowed: dict[str, None] = {}
        for route in self._routes:
            params = _fitting(route, parts)
            if params is None:
                continue
            if route.method not in (method, request.method):
                allowed[route.method] = None
                continue
            try:
                response = route.answer(actor, request, **params)
            except BadRequest as refusal:
                return error(400, str(refusal))
            if request.method == "HEAD" and isinstance(response, HttpResponse):
                return HttpResponse(response.status, response.headers)
            return response
        return method_not_allowed(", ".join(allowed)) if allowed else error(404, f"nothing at {request.path}")


def _fitting(route: _Route, parts: list[str]) -> dict[str, Any] | None:
    """The parameters of a path that fits the route; `None` if it does not."""
    params: dict[str, Any] = {}
    try:
        for at, wanted in enumerate(route.parts):
            if wanted == "*" and at == len(route.parts) - 1:
                params["rest"] = "/".join(unquote_to_bytes(part).decode() for part in parts[at:])
                return params
            if at >= len(parts):
                return None
            part = unquote_to_bytes(parts[at]).decode()
            if wanted.startswith("{") and wanted.endswith("}"):
                if part == "":
                    return None
                name = wanted[1:-1]
                params[name] = int(part) if name in route.integers else part
            elif wanted != part:
                return None
    except ValueError:
        # A part that decodes to no text, or is no integer, fits nothing.
        return None
    return params if len(parts) == len(route.parts) else None
