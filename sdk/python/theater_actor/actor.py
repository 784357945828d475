"""What an actor is: a dataclass, whose fields are the state."""

from __future__ import annotations

from typing import Any

from .http import HttpRequest, HttpResponse
from .refusal import refuse


class Actor:
    """An actor. It is a dataclass: its fields are its state, in JSON between two calls.

    A call that raises `Refusal` leaves the state as it was; any other exception fails the actor.

        @dataclass
        class Till(Actor):
            cents: int = 0

            def handle_request(self, message):
                self.cents += message["charge"]
                return self.cents

    The entry of a project has one such class.
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

    def handle_timer(self, key: str, message: Any, due: int) -> None:
        """Is called when a timer is due. Needs the handler `timer`."""
        refuse("this actor sets no timers")

    def handle_websocket(self, message: Any) -> list[Any]:
        """Answers a message of a WebSocket client. Needs the handler `websocket-server`."""
        refuse("this actor answers no WebSocket clients")

    def handle_child_event(self, event: Any) -> None:
        """Is told that a child has ended or was restarted. Needs the handler `supervisor`."""

    def handle_down(self, down: Any) -> None:
        """Is told that an actor that it monitors has ended. Needs the handler `monitor`."""
