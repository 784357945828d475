"""An actor that calls every interface when it is told to: `["spawn-as", "counter.toml", "one"]`. The actor in TypeScript beside this
directory does the same."""

from dataclasses import dataclass, field
from typing import Any, Callable

from theater_actor import (
    Actor,
    ChildEvent,
    Down,
    HostError,
    HttpRequest,
    HttpResponse,
    Reply,
    Router,
    ServerSentEvent,
    StreamAnswer,
    WebSocketMessage,
    clock,
    config,
    connections,
    event_stream,
    filesystem,
    http_client,
    json,
    messages,
    monitors,
    redirect,
    refuse,
    runtime,
    streams,
    supervisor,
    table,
    text_message,
    timer,
)


def page(prefix: str, limit: int, cursor: str | None = None) -> Any:
    found = table.scan(prefix, limit, None if cursor is None else cursor.encode())
    return {"keys": [key.decode() for key, _ in found.rows], "cursor": found.cursor.decode() if found.cursor else None}


def fetch(url: str, options: dict[str, Any] | None = None) -> Any:
    options = options or {}
    body = options.get("body", "").encode() or None
    response = http_client.request(options.get("method", "GET"), url, headers=options.get("headers", {}), body=body)
    return [response.status, response.header("content-type"), response.json()]


COMMANDS: dict[str, Callable[..., Any]] = {
    "spawn": supervisor.spawn,
    "spawn-as": supervisor.spawn_as,
    "get-or-spawn": supervisor.get_or_spawn,
    "children": supervisor.list_children,
    "stop": supervisor.stop_child,
    "restart": supervisor.restart_child,
    "child-state": supervisor.child_state,
    "child-events": lambda child: [event.event_type for event in supervisor.child_events(child)],
    "ask": messages.request,
    "send": messages.send,
    "ask-later": messages.request_async,
    "monitor": monitors.monitor,
    "demonitor": monitors.demonitor,
    "timer-set": timer.set,
    "timer-at": timer.set_at,
    "timer-every": timer.every,
    "timer-cron": timer.cron,
    "timer-cancel": timer.cancel,
    "timer-list": lambda: [[it.key, it.round] for it in timer.pending()],
    "put": table.put,
    "get": table.get,
    "delete": table.delete,
    "count": table.count,
    "scan": page,
    "entries": lambda prefix: list(table.items(prefix)),
    "write": filesystem.write_file,
    "read": filesystem.read_text,
    "list": filesystem.list_files,
    "mkdir": filesystem.create_dir,
    "exists": filesystem.path_exists,
    "unlink": filesystem.delete_file,
    "rmdir": filesystem.delete_dir,
    "streams": streams.streams,
    "push-stream": streams.push,
    "push-event": lambda stream, data, event: streams.push_event(stream, ServerSentEvent(data, event)),
    "end-stream": streams.end,
    "connections": connections.connections,
    "push": lambda to, text: connections.push(to, text_message(text)),
    "close": connections.close,
    "now": clock.now,
    "config": config.get,
    "history": lambda: [event.type for event in runtime.history()],
    "fetch": fetch,
}


@dataclass
class Everything(Actor):
    told: list[Any] = field(default_factory=list)
    routes = Router()

    def handle_request(self, message: list[Any]) -> Any:
        name, *params = message
        if name == "told":
            return self.told
        if name not in COMMANDS:
            refuse(f"no command {name}")
        try:
            return COMMANDS[name](*params)
        except HostError as error:
            return {"error": str(error), "reason": error.reason}

    @routes.get("/")
    def index(self, request: HttpRequest) -> HttpResponse:
        return redirect("/hello/you")

    @routes.get("/hello/{name}")
    def hello(self, request: HttpRequest, name: str) -> HttpResponse:
        shown = {"name": name, "query": request.query, "cookies": request.cookies}
        return json(200, shown).with_cookie("seen", "yes")

    @routes.post("/echo")
    def echo(self, request: HttpRequest) -> HttpResponse:
        return json(201, request.json())

    @routes.get("/events")
    def events(self, request: HttpRequest) -> StreamAnswer:
        return event_stream(ServerSentEvent("welcome", id=request.header("last-event-id") or "0"))

    def handle_stream(self, stream: int, request: HttpRequest) -> HttpResponse | StreamAnswer:
        return self.routes.answer(self, request)

    def handle_stream_closed(self, stream: int) -> None:
        self.told.append(["stream-closed", stream])

    def handle_connection(self, connection: int, message: WebSocketMessage) -> list[WebSocketMessage]:
        self.told.append([message.kind, connection])
        return [text_message(f"heard {message.text}")] if message.kind == "text" else []

    def handle_reply(self, token: int, reply: Reply) -> None:
        self.told.append(["reply", token, reply.error or reply.value])

    def handle_timer(self, key: str, message: Any, due: int) -> None:
        self.told.append(["timer", key, message])

    def handle_child_event(self, event: ChildEvent) -> None:
        self.told.append(["child", event.child_id, event.kind])

    def handle_down(self, down: Down) -> None:
        self.told.append(["down", down.reference, down.kind])
