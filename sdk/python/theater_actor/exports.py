"""The exports of a component, made from the class of an actor. A build calls this; an actor does not."""

from __future__ import annotations

import dataclasses
import json
from types import ModuleType
from typing import Any, Callable

from componentize_py_types import Err

from . import output
from .actor import Actor
from .http import HttpRequest, to_json
from .refusal import Refusal, refuse


def exports_of(module: ModuleType) -> dict[str, type]:
    """The classes that a component exports, by their names."""
    actor_class = _actor_class(module)
    names = {field.name for field in dataclasses.fields(actor_class)}

    def loaded(state: bytes | None) -> Actor:
        if state is None:
            return actor_class()
        values = json.loads(state)
        return actor_class(**{name: value for name, value in values.items() if name in names})

    def call(state: bytes | None, method: Callable[[Any], Any]) -> tuple[bytes, Any]:
        """Runs a method on the state, and returns the next state and what the method returned."""
        output.take_output()
        try:
            actor = loaded(state)
            result = method(actor)
            return to_json(dataclasses.asdict(actor)), result
        except Refusal as refusal:
            raise Err(str(refusal)) from None
        finally:
            output.end_lines()

    def state_of(state: bytes | None, method: Callable[[Any], None]) -> tuple[bytes]:
        return (call(state, method)[0],)

    class Start:
        def init(self, state, params):
            return state_of(state, lambda actor: actor.init(params[0]))

    class MessageServerClient:
        def handle_request(self, state, params):
            after, reply = call(state, lambda actor: to_json(actor.handle_request(_received(params[0]))))
            return after, (reply,)

        def handle_send(self, state, params):
            return state_of(state, lambda actor: actor.handle_send(_received(params[0])))

    class HttpServer:
        def handle_request(self, state, params):
            from wit_world.imports import http_types

            got = params[0]
            request = HttpRequest(got.method, got.uri, list(got.headers), got.body)
            after, response = call(state, lambda actor: actor.handle_http(request))
            return after, (http_types.HttpResponse(response.status, list(response.headers), response.body),)

    class WebsocketServer:
        def handle_message(self, state, params):
            from wit_world.exports import websocket_server

            after, messages = call(state, lambda actor: actor.handle_websocket(params[0]))
            return after, (websocket_server.WebsocketResponse(messages),)

    class TimerHandlers:
        def handle_timer(self, state, params):
            key, due, message = params
            return state_of(state, lambda actor: actor.handle_timer(key, json.loads(message), due))

    class SupervisorHandlers:
        def handle_child_event(self, state, params):
            return state_of(state, lambda actor: actor.handle_child_event(params[0]))

    class MonitorHandlers:
        def handle_down(self, state, params):
            return state_of(state, lambda actor: actor.handle_down(params[0]))

    return {
        "Actor": Start,
        "MessageServerClient": MessageServerClient,
        "HttpServer": HttpServer,
        "WebsocketServer": WebsocketServer,
        "TimerHandlers": TimerHandlers,
        "SupervisorHandlers": SupervisorHandlers,
        "MonitorHandlers": MonitorHandlers,
    }


def _actor_class(module: ModuleType) -> type:
    """The one class of the entry that is an actor."""
    own = [it for it in vars(module).values() if isinstance(it, type) and issubclass(it, Actor) and it is not Actor]
    own = [it for it in own if it.__module__ == module.__name__]
    if len(own) != 1:
        found = ", ".join(it.__name__ for it in own) or "none"
        raise TypeError(f"{module.__name__} needs one subclass of theater_actor.Actor, and has {found}")
    if not dataclasses.is_dataclass(own[0]):
        raise TypeError(f"{own[0].__name__} is no dataclass: write @dataclass before it, so that its fields are its state")
    return own[0]


def _received(message: bytes) -> Any:
    """The message that another actor sent. What is no JSON is refused."""
    try:
        return json.loads(message)
    except ValueError as error:
        refuse(f"the message is no JSON: {error}")
