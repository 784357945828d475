"""Answers that the actor gives later than in the call that asks."""

from __future__ import annotations

from typing import Any

from .data import to_json
from .host import Err, Ok, called, interface
from .http import HttpResponse

_host = interface("deferred_replies")
_types = interface("http_types")


def defer() -> int:
    """Puts off the answer to the call that the actor is in, and returns the token with which it is given later. Nobody gets what
    the call returns. Raises a `HostError` if nobody waits for the answer."""
    return called(_host.defer)


def reply(token: int, answer: Any) -> None:
    """Gives an answer that was put off. Raises a `HostError` if nobody waits for it any more."""
    called(lambda: _host.reply(token, Ok(to_json(answer))))


def refuse_later(token: int, why: str) -> None:
    """Refuses, later than in the call: whoever asked gets the text as an error."""
    called(lambda: _host.reply(token, Err(why)))


def reply_http(token: int, response: HttpResponse) -> None:
    """Gives an HTTP client the answer that was put off."""
    answer = _types.HttpResponse(response.status, list(response.headers), response.body)
    called(lambda: _host.reply_http(token, answer))
