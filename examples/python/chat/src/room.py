"""The front of a chat: pages and assets, a WebSocket room, a store that it spawns, and an oracle that it asks over HTTP.

A WebSocket answer goes only to the client that sent the message. So clients hear others by sending: each message says up to which
message its sender has heard, and the answer has all later messages.
"""

import json as text_of
import logging
from dataclasses import dataclass
from typing import Any

from theater_actor import (
    Actor,
    HostError,
    HttpRequest,
    HttpResponse,
    Router,
    WebSocketMessage,
    error,
    filesystem,
    http_client,
    json,
    messages,
    refuse,
    runtime,
    supervisor,
    text_message,
)

KINDS = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "application/javascript", "png": "image/png"}

logger = logging.getLogger("chat")


@dataclass
class Room(Actor):
    store: str = ""
    """The manifest of the store."""
    oracle: str = ""
    """The address of the oracle."""
    store_id: str = ""
    connected: int = 0
    requests: int = 0
    routes = Router()

    def init(self, actor_id: str) -> None:
        logger.info("%s initializing", actor_id)
        if not self.store:
            refuse("the manifest's init_state names the store and the oracle")
        logger.info("serving %s", filesystem.list_files())
        self.store_id = supervisor.spawn(self.store)
        self.post("room", "open")

    def handle_http(self, request: HttpRequest) -> HttpResponse:
        self.requests += 1
        return self.routes.answer(self, request)

    def handle_websocket(self, message: WebSocketMessage) -> list[WebSocketMessage]:
        match message:
            case WebSocketMessage("connect"):
                self.connected += 1
                return [shown(self.heard_since(0, "welcome"))]
            case WebSocketMessage("close"):
                self.connected -= 1
            case WebSocketMessage("text", text):
                return [shown(self.said(text or ""))]
        return []

    def handle_send(self, message: Any) -> None:
        logger.info("heard %s", message)

    def handle_request(self, message: Any) -> Any:
        if message != "summary":
            refuse(f"asked for {text_of.dumps(message)}")
        return {"connected": self.connected, "requests": self.requests, "store": self.store_id}

    def post(self, name: str, text: str) -> Any:
        return messages.request(self.store_id, {"action": "post", "name": name, "text": text})

    def heard_since(self, seq: int, kind: str) -> Any:
        return messages.request(self.store_id, {"action": "since", "seq": seq}) | {"type": kind}

    def said(self, sent: str) -> Any:
        """A message of a client: `{"type": "say", "name", "text", "since"}`, or `{"type": "poll", "since"}`. A text that begins
        with `/ask ` is sent to the oracle, whose answer becomes a message too."""
        try:
            said = text_of.loads(sent)
        except ValueError as problem:
            return {"type": "error", "why": str(problem)}
        if said.get("type") == "say":
            text = said.get("text", "")
            self.post(said.get("name", "nobody"), text)
            if text.startswith("/ask "):
                self.post("oracle", self.asked(text.removeprefix("/ask ")))
        return self.heard_since(said.get("since", 0), "messages")

    def asked(self, question: str) -> str:
        try:
            response = http_client.post(self.oracle, headers={"accept": "application/json"}, json={"question": question})
        except HostError as problem:
            return f"(no answer: {problem})"
        return response.json()["answer"] if response.status == 200 else f"(no answer: status {response.status})"

    @routes.get("/")
    @routes.get("/index.html")
    def index(self, request: HttpRequest) -> HttpResponse:
        return file("index.html")

    @routes.get("/assets/*")
    def asset(self, request: HttpRequest, rest: str) -> HttpResponse:
        return file(rest)

    @routes.get("/api/messages")
    def heard(self, request: HttpRequest) -> HttpResponse:
        return json(200, self.heard_since(int(request.query.get("since", 0)), "messages"))

    @routes.post("/api/messages")
    def say(self, request: HttpRequest) -> HttpResponse:
        said = request.json(dict)
        return json(201, self.post(said.get("name", "nobody"), said.get("text", "")))

    @routes.get("/api/status")
    def status(self, request: HttpRequest) -> HttpResponse:
        events = supervisor.child_events(self.store_id)
        chain = runtime.history()
        return json(
            200,
            {
                "children": supervisor.list_children(),
                "stored": len(supervisor.child_state(self.store_id)["messages"]),
                "store_chain_linked": all(two.parent_hash == one.hash for one, two in zip(events, events[1:])),
                "own_chain_linked": all(two.parent == one.hash for one, two in zip(chain, chain[1:])),
            },
        )


def file(name: str) -> HttpResponse:
    """A file of the granted directory."""
    try:
        if not filesystem.path_exists(name):
            return error(404, "no such asset")
    except HostError as problem:
        return error(403, str(problem))
    kind = KINDS.get(name.rpartition(".")[2], "application/octet-stream")
    return HttpResponse(200, [("content-type", kind)], filesystem.read_file(name))


def shown(value: Any) -> WebSocketMessage:
    return text_message(text_of.dumps(value))
