"""What an actor is: a dataclass, whose fields are the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .http import HttpRequest, HttpResponse
from .refusal import HostError, refuse
from .streams_answer import StreamAnswer
from .websocket import WebSocketMessage


@dataclass(frozen=True)
class ChildEvent:
    """What became of a child of this actor."""

    child_id: str
    kind: Literal["started", "stopped", "failed", "restarted"]
    why: str | None = None
    """Why it failed."""


@dataclass(frozen=True)
class Down:
    """The end of an actor that this one monitored."""

    reference: int
    """What `monitors.monitor` has returned."""
    actor_id: str
    kind: Literal["stopped", "failed"]
    why: str | None = None
    """Why it failed."""


@dataclass(frozen=True)
class Reply:
    """The answer to a `messages.request_async`, or why there is none."""

    value: Any = None
    error: str | None = None

    def result(self) -> Any:
        """The answer. Raises a `HostError` that says why there is none."""
        if self.error is not None:
            raise HostError(self.error)
        return self.value


class Actor:
    """An actor. It is a dataclass: its fields are its state, in JSON between two calls.

    A call that raises `Refusal` leaves the state as it was; any other exception fails the actor.

        @dataclass
        class Charge:
            charge: int

        @dataclass
        class Till(Actor):
            cents: int = 0

            def handle_request(self, message: Charge) -> int:
                self.cents += message.charge
                return self.cents

    The entry of a project has one such class. The types of its fields, and of the parameter `message`, say what is read from
    JSON: a message that is none of its type is refused. Without a type, a message is what `json.loads` makes of it.
    """

    def init(self, actor_id: str) -> None:
        """Runs once, when the actor is spawned. The fields hold what `init_state` of the manifest says, if it is there."""

    def handle_request(self, message: Any) -> Any:
        """Answers a message: what it returns is the reply."""
        refuse("this actor takes no messages")

    def handle_send(self, message: Any) -> None:
        """Handles a message whose sender waits for no answer."""
        self.handle_request(message)

    def handle_http(self, request: HttpRequest) -> HttpResponse:
        """Answers an HTTP request. Needs the handler `http-server`."""
        refuse("this actor answers no HTTP")

    def handle_stream(self, stream: int, request: HttpRequest) -> HttpResponse | StreamAnswer:
        """Answers an HTTP request by a stream, which then has the id `stream`, or by a response like `handle_http`, which is not
        called if the actor has this method. Needs the handler `http-server`."""
        return self.handle_http(request)

    def handle_stream_closed(self, stream: int) -> None:
        """Is told that a stream is over which the actor has not ended itself."""

    def handle_timer(self, key: str, message: Any, due: int) -> None:
        """Is called when a timer is due. `due` is in milliseconds since the Unix epoch. Needs the handler `timer`."""
        refuse("this actor sets no timers")

    def handle_websocket(self, message: WebSocketMessage) -> list[WebSocketMessage] | None:
        """Answers a message of a WebSocket client. Needs the handler `websocket-server`."""
        refuse("this actor answers no WebSocket clients")

    def handle_connection(self, connection: int, message: WebSocketMessage) -> list[WebSocketMessage] | None:
        """Answers a message of the WebSocket client with this id. If the actor has this method, `handle_websocket` is not called.
        The first message of a connection is a `connect`, and the last one a `close`. Needs the handler `websocket-server`."""
        return self.handle_websocket(message)

    def handle_reply(self, token: int, reply: Reply) -> None:
        """Is told of the answer to a `messages.request_async` with this token."""
        refuse("this actor has no handle_reply")

    def handle_child_event(self, event: ChildEvent) -> None:
        """Is told that a child has ended or was restarted. Needs the handler `supervisor`."""

    def handle_down(self, down: Down) -> None:
        """Is told that an actor that it monitors has ended. Needs the handler `monitor`."""

    def migrate(self, before: Any, from_digest: str) -> None:
        """Sets the fields of this new actor from the state that an earlier build has left, as `json.loads` makes it; `from_digest` is
        the digest of that build's component. It is called once, after an upgrade. A refusal or another exception takes the
        upgrade back."""
        vars(self).update(before or {})
