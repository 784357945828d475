"""Tests of an actor's own logic, without Theater: a host that answers from a script, and an actor that is called as Theater calls it.

    with Host(config={"greeting": "Hello"}) as host:
        host.answer("message-server-host.request", {"cents": 5})
        till = host.start(Till)
        assert till.request({"charge": 5}) == 5
        assert host.calls_of("message-server-host.request") == [["bank", "balance"]]

pytest finds the library by `pythonpath = [".theater/sdk/python", "src"]` under `[tool.pytest.ini_options]`, and unittest by the
environment variable PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict, deque
from typing import Any, Callable
from unittest import mock

from . import _outside
from .actor import ChildEvent, Down, Reply
from .data import to_json
from .http import HttpRequest, HttpResponse
from .state import Reader
from .websocket import WebSocketMessage

NEW_YEAR_2026 = 1_767_225_600_000

_QUIET = ("runtime.log", "clock.", "random.", "config.", "table.")
"""What the host answers by itself, and does not record."""

_JSON_RESULTS = ("config.get", "message-server-host.request", "supervisor.get-child-state")


def _seen(value: Any) -> Any:
    """A parameter as a test likes to see it: JSON as the value that it spells, other bytes as text if they are text."""
    if isinstance(value, bytes):
        try:
            return json.loads(value)
        except ValueError:
            pass
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, _outside.Ok):
        return {"ok": _seen(value.value)}
    if isinstance(value, _outside.Err):
        return {"err": value.value}
    if isinstance(value, _outside.Record):
        named = value.__dict__
        return {name: _seen(it) for name, it in named.items()} if named else type(value).__name__.rpartition("_")[2].lower()
    if isinstance(value, (list, tuple)):
        return [_seen(it) for it in value]
    return value


class Host:
    """A host that answers the calls of actors in a test, within a `with`. Meanwhile `time.time` stands still, and `random`,
    `secrets` and `uuid` are seeded."""

    def __init__(self, *, clock: int = NEW_YEAR_2026, seed: int = 1, config: dict[str, Any] | None = None) -> None:
        self.clock = clock
        """The time, in milliseconds since the Unix epoch."""
        self.config = dict(config or {})
        self.calls: list[tuple[str, list[Any]]] = []
        """The calls, in their order, without those of the log, the clock, random bytes, `[config]` and the table: the function as in
        `wit/`, such as `timer.set`, and the parameters."""
        self.logs: list[str] = []
        """The lines of the log."""
        self.timers: dict[str, int] = {}
        """The timers that are set: when each is due. None fires by itself."""
        self._tokens = 0
        self._rows: dict[bytes, bytes] = {}
        self._answers: defaultdict[str, deque[Any]] = defaultdict(deque)
        self._standing: dict[str, Any] = {}
        self._random = random.Random(seed)
        self._patches: list[Any] = []

    def answer(self, function: str, answer: Any = None) -> Host:
        """Gives the next call of a function this answer: a value, a function of the parameters, or an exception, whose text the
        host answers with."""
        self._answers[function].append(answer)
        return self

    def fail(self, function: str, why: str) -> Host:
        """Lets the next call of a function fail with this text."""
        return self.answer(function, Exception(why))

    def always(self, function: str, answer: Any = None) -> Host:
        """Gives each call of a function this answer, when no other one is left."""
        self._standing[function] = answer
        return self

    def calls_of(self, function: str) -> list[list[Any]]:
        """The parameters of all calls of a function."""
        return [params for name, params in self.calls if name == function]

    def start(self, actor_class: type, *, actor_id: str = "tested", state: Any = None) -> Tested:
        """Starts an actor, as Theater does it."""
        return Tested(actor_class, actor_id, state)

    def __enter__(self) -> Host:
        if _outside.answer is not None:
            raise RuntimeError("another Host is there: end its `with` first")
        _outside.answer = self._call
        state = random.getstate()
        self._restore = lambda: random.setstate(state)
        random.seed(self._random.random())
        self._patches = [
            mock.patch.object(time, "time", lambda: self.clock / 1000),
            mock.patch.object(time, "time_ns", lambda: self.clock * 1_000_000),
            mock.patch.object(os, "urandom", self._random.randbytes),
        ]
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        _outside.answer = None
        self._restore()
        for patch in self._patches:
            patch.stop()
        left = [function for function, answers in self._answers.items() if answers]
        if kind is None and left:
            raise AssertionError(f"answers were left over: {', '.join(left)}")

    def _call(self, function: str, params: list[Any]) -> Any:
        shown = [_seen(it) for it in params]
        if not function.startswith(_QUIET):
            self.calls.append((function, shown))
        if self._answers[function]:
            answer = self._answers[function].popleft()
        elif function in self._standing:
            answer = self._standing[function]
        else:
            return self._own(function, params, shown)
        value = answer(*shown) if callable(answer) and not isinstance(answer, type) else answer
        if isinstance(value, Exception):
            raise _outside.Err(str(value))
        if function in _JSON_RESULTS:
            return to_json(value)
        if function == "filesystem.read-file" and isinstance(value, str):
            return value.encode()
        return value

    def _own(self, function: str, params: list[Any], shown: list[Any]) -> Any:
        """What the host answers by itself."""
        match function:
            case "runtime.log":
                return self.logs.append(params[0])
            case "clock.now":
                return self.clock
            case "random.bytes":
                return self._random.randbytes(params[0])
            case "config.get":
                return to_json(self.config[params[0]]) if params[0] in self.config else None
            case "timer.set" | "timer.every":
                self.timers[params[0]] = self.clock + params[1]
                return self.timers[params[0]]
            case "timer.set-at":
                self.timers[params[0]] = params[1]
                return params[1]
            case "timer.cancel":
                return self.timers.pop(params[0], None) is not None
            case "timer.list":
                types = _outside.interface("timer")
                return [types.PendingTimer(key, due, 1) for key, due in sorted(self.timers.items(), key=lambda it: it[1])]
            case "deferred-replies.defer":
                self._tokens += 1
                return self._tokens
            case "table.get":
                return self._rows.get(params[0])
            case "table.put":
                self._rows[params[0]] = params[1]
                return None
            case "table.delete":
                return self._rows.pop(params[0], None) is not None
            case "table.count":
                return len(self._rows)
            case "table.scan":
                prefix, limit, cursor = params
                keys = [key for key in sorted(self._rows) if key.startswith(prefix) and (cursor is None or key > cursor)]
                types = _outside.interface("table")
                rows = [types.Row(key, self._rows[key]) for key in keys[:limit]]
                return types.Page(rows, rows[-1].key if len(keys) > limit else None)
        said = ", ".join(repr(it) for it in shown)
        raise AssertionError(
            f'{function} has no answer; it was called with ({said}); add host.answer("{function}", …) or '
            f'host.fail("{function}", …) before the call'
        )


class Tested:
    """An actor in a test.

    Each method calls the actor as Theater does: with the state that the call before has left, read from JSON, and with what it is
    sent as JSON. A refusal is raised, and leaves the state as it was.
    """

    def __init__(self, actor_class: type, actor_id: str, state: Any) -> None:
        self._read = Reader(actor_class)
        self._state = None if state is None else to_json(state)
        self._call(lambda actor: actor.init(actor_id))

    @property
    def state(self) -> Any:
        """The actor with its newest state. Changes of it are forgotten."""
        return self._read.actor(self._state)

    def _call(self, method: Callable[[Any], Any]) -> Any:
        actor = self._read.actor(self._state)
        result = method(actor)
        self._state = to_json(actor)
        return result

    def request(self, message: Any) -> Any:
        return json.loads(to_json(self._call(lambda actor: actor.handle_request(self._read.request(to_json(message))))))

    def send(self, message: Any) -> None:
        self._call(lambda actor: actor.handle_send(self._read.send(to_json(message))))

    def http(self, method: str, uri: str, *, headers: Any = (), json: Any = None, body: bytes | None = None) -> HttpResponse:
        """Sends an HTTP request."""
        content = to_json(json) if json is not None else body
        return self._call(lambda actor: actor.handle_http(HttpRequest(method, uri, list(headers), content)))

    def stream(self, stream: int, method: str, uri: str, *, headers: Any = (), body: bytes | None = None) -> Any:
        """Like `http`, for an actor that answers by streams."""
        return self._call(lambda actor: actor.handle_stream(stream, HttpRequest(method, uri, list(headers), body)))

    def stream_closed(self, stream: int) -> None:
        self._call(lambda actor: actor.handle_stream_closed(stream))

    def timer(self, key: str, message: Any = None, due: int = 0) -> None:
        self._call(lambda actor: actor.handle_timer(key, self._read.timer(to_json(message)), due))

    def websocket(self, message: WebSocketMessage) -> list[WebSocketMessage]:
        return self._call(lambda actor: actor.handle_websocket(message)) or []

    def connection(self, connection: int, message: WebSocketMessage) -> list[WebSocketMessage]:
        return self._call(lambda actor: actor.handle_connection(connection, message)) or []

    def reply(self, token: int, reply: Reply) -> None:
        self._call(lambda actor: actor.handle_reply(token, reply))

    def child_event(self, event: ChildEvent) -> None:
        self._call(lambda actor: actor.handle_child_event(event))

    def down(self, down: Down) -> None:
        self._call(lambda actor: actor.handle_down(down))
