"""The library for Theater actors in Python.

What needs a grant in the manifest has a module of its own: `theater_actor.clock`, `connections`, `filesystem`, `http_client`,
`monitors`, `streams`, `supervisor`, `table`, `timer`. `time`, `datetime`, `random`, `uuid` and `secrets` work where the handlers
`clock` and `random` are granted. Tests of an actor's own logic use `theater_actor.testing`.
"""

import sys as _sys

if _sys.platform == "wasi":
    from . import randomness  # Before all else: it changes what the module `random` gives.
from . import config, messages, replies, runtime
from .actor import Actor, ChildEvent, Down, Reply
from .data import Mismatch, from_json, to_json
from .http import HttpRequest, HttpResponse, error, html, json, method_not_allowed, plain, redirect
from .output import log
from .refusal import BadRequest, HostError, Refusal, refuse
from .router import Router
from .streams_answer import ServerSentEvent, StreamAnswer, event_stream
from .websocket import WebSocketMessage, binary_message, close_message, text_message

__all__ = [
    "Actor",
    "BadRequest",
    "ChildEvent",
    "Down",
    "HostError",
    "HttpRequest",
    "HttpResponse",
    "Mismatch",
    "Refusal",
    "Reply",
    "Router",
    "ServerSentEvent",
    "StreamAnswer",
    "WebSocketMessage",
    "binary_message",
    "close_message",
    "config",
    "error",
    "event_stream",
    "from_json",
    "html",
    "json",
    "log",
    "messages",
    "method_not_allowed",
    "plain",
    "redirect",
    "refuse",
    "replies",
    "runtime",
    "text_message",
    "to_json",
]
