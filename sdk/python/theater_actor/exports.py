"""The exports of a component, made from the class of an actor. A build calls this; an actor does not."""

from __future__ import annotations

import dataclasses
import json
from types import ModuleType
from typing import Any, Callable

from . import output
from .actor import Actor, ChildEvent, Down, Reply
from .data import to_json
from .host import Err, Ok
from .http import HttpRequest
from .refusal import Refusal
from .state import Reader
from .streams_answer import StreamAnswer
from .websocket import from_host, to_host


def exports_of(module: ModuleType) -> dict[str, type]:
    """The classes that a component exports, by their names."""
    read = Reader(_actor_class(module))
    output.take_logging()

    def call(state: bytes | None, method: Callable[[Any], Any]) -> tuple[bytes, Any]:
        """Runs a method on the state, and returns the next state and what the method returned."""
        output.take_output()
        try:
            actor = read.actor(state)
            result = method(actor)
            return to_json(actor), result
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
            after, reply = call(state, lambda actor: to_json(actor.handle_request(read.request(params[0]))))
            return after, (reply,)

        def handle_send(self, state, params):
            return state_of(state, lambda actor: actor.handle_send(read.send(params[0])))

    class HttpServer:
        def handle_request(self, state, params):
            after, response = call(state, lambda actor: actor.handle_http(_request(params[0])))
            return after, (_response(response),)

    class StreamHandlers:
        def handle_request(self, state, params):
            from wit_world.exports import stream_handlers as types

            stream, got = params
            after, answer = call(state, lambda actor: actor.handle_stream(stream, _request(got)))
            if isinstance(answer, StreamAnswer):
                head = types.StreamHead(answer.status, list(answer.headers), answer.first)
                return after, (types.HttpAnswer_Stream(head),)
            return after, (types.HttpAnswer_Response(_response(answer)),)

        def handle_stream_closed(self, state, params):
            return state_of(state, lambda actor: actor.handle_stream_closed(params[0]))

    class WebsocketServer:
        def handle_message(self, state, params):
            from wit_world.exports import websocket_server as types

            after, messages = call(state, lambda actor: actor.handle_websocket(from_host(params[0])))
            return after, (_messages(messages, types),)

    class ConnectionHandlers:
        def handle_connection_message(self, state, params):
            from wit_world.imports import websocket_types as types

            connection, message = params
            after, messages = call(state, lambda actor: actor.handle_connection(connection, from_host(message)))
            return after, (_messages(messages, types),)

    class TimerHandlers:
        def handle_timer(self, state, params):
            key, due, message = params
            return state_of(state, lambda actor: actor.handle_timer(key, read.timer(message), due))

    class ReplyHandlers:
        def handle_reply(self, state, params):
            token, answer = params
            reply = Reply(json.loads(answer.value)) if isinstance(answer, Ok) else Reply(error=answer.value)
            return state_of(state, lambda actor: actor.handle_reply(token, reply))

    class SupervisorHandlers:
        def handle_child_event(self, state, params):
            event = ChildEvent(params[0].child_id, *_case(params[0].kind))
            return state_of(state, lambda actor: actor.handle_child_event(event))

    class MonitorHandlers:
        def handle_down(self, state, params):
            down = Down(params[0].reference, params[0].actor_id, *_case(params[0].reason))
            return state_of(state, lambda actor: actor.handle_down(down))

    class Migration:
        def migrate(self, state, params):
            before = None if state is None else json.loads(state)
            return state_of(None, lambda actor: actor.migrate(before, params[0]))

    return {
        "Actor": Start,
        "ConnectionHandlers": ConnectionHandlers,
        "HttpServer": HttpServer,
        "MessageServerClient": MessageServerClient,
        "Migration": Migration,
        "MonitorHandlers": MonitorHandlers,
        "ReplyHandlers": ReplyHandlers,
        "StreamHandlers": StreamHandlers,
        "SupervisorHandlers": SupervisorHandlers,
        "TimerHandlers": TimerHandlers,
        "WebsocketServer": WebsocketServer,
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


def _request(got: Any) -> HttpRequest:
    return HttpRequest(got.method, got.uri, list(got.headers), got.body)


def _response(response: Any) -> Any:
    from wit_world.imports import http_types

    return http_types.HttpResponse(response.status, list(response.headers), response.body)


def _messages(messages: Any, types: Any) -> Any:
    return types.WebsocketResponse([to_host(message, types) for message in messages or []])


def _case(value: Any) -> tuple[str, str | None]:
    """The name of a variant's case, from that of its class, such as `EndReason_Failed`; and what it holds."""
    return type(value).__name__.rpartition("_")[2].lower(), getattr(value, "value", None)
