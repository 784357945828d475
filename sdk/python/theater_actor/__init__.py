"""The library for Theater actors in Python.

What needs a grant in the manifest has a module of its own: `theater_actor.clock`, `theater_actor.http_client`,
`theater_actor.timer`, `theater_actor.monitors`. `time`, `datetime`, `random`, `uuid` and `secrets` work where the handlers
`clock` and `random` are granted.
"""

from . import randomness  # Before all else: it changes what the module `random` gives.
from . import config, messages
from .actor import Actor
from .http import HttpRequest, HttpResponse, error, json, method_not_allowed, plain, redirect
from .output import log
from .refusal import HostError, Refusal, refuse

__all__ = [
    "Actor",
    "HostError",
    "HttpRequest",
    "HttpResponse",
    "Refusal",
    "config",
    "error",
    "json",
    "log",
    "messages",
    "method_not_allowed",
    "plain",
    "redirect",
    "refuse",
]
