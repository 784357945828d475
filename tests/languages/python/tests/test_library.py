"""Tests of the library for Python, with the host that tests of actors have."""

from __future__ import annotations

import logging
import random
import time
import unittest
import uuid
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from theater_actor import (
    Actor,
    HostError,
    HttpRequest,
    HttpResponse,
    Mismatch,
    Refusal,
    Router,
    ServerSentEvent,
    config,
    from_json,
    http_client,
    json,
    log,
    messages,
    refuse,
    table,
    timer,
    to_json,
)
from theater_actor.testing import Host


class Kind(Enum):
    GREEN = "green"
    BLACK = "black"


@dataclass
class Tea:
    kind: Kind
    grams: list[int] = field(default_factory=list)


@dataclass
class Charge:
    charge: int
    note: str | None = None


@dataclass
class Ask:
    ask: str


@dataclass
class Till(Actor):
    cents: int = 0
    teas: dict[str, Tea] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    routes = Router()

    def init(self, actor_id: str) -> None:
        log(f"{actor_id} begins at {config.get('cents', 0)}")

    def handle_request(self, message: Literal["total", "later"] | Charge | Ask) -> Any:
        match message:
            case "total":
                return self.cents
            case "later":
                return timer.set("tea", 5, {"kind": "green"})
            case Ask(actor):
                return messages.request(actor, "total")
            case Charge(cents):
                self.cents += cents
                if self.cents > 1000:
                    refuse("the till is full")
                table.put(f"charge/{self.cents}", cents)
                return self.cents

    @routes.get("/teas/{number}")
    def tea(self, request: HttpRequest, number: int) -> HttpResponse:
        return json(200, {"number": number} | request.query)

    @routes.post("/teas")
    def add(self, request: HttpRequest) -> HttpResponse:
        tea = request.json(Tea)
        return json(201, tea).with_cookie("seen", "1", max_age=60)

    @routes.get("/files/*")
    def file(self, request: HttpRequest, rest: str) -> HttpResponse:
        return json(200, rest)

    def handle_http(self, request: HttpRequest) -> HttpResponse:
        return self.routes.answer(self, request)


class Data(unittest.TestCase):
    def test_values_are_read_by_their_types_and_written_with_fields_in_their_order(self) -> None:
        value = {"old": 1, "teas": {"b": {"grams": [1], "kind": "black"}, "a": {"kind": "green"}}, "names": ["z", "a"]}
        till = from_json(Till, value)
        self.assertEqual(till.teas["b"], Tea(Kind.BLACK, [1]))
        written = b'{"cents":0,"teas":{"a":{"kind":"green","grams":[]},"b":{"kind":"black","grams":[1]}},"names":["a","z"]}'
        self.assertEqual(to_json(till), written)

    def test_what_is_wrong_is_named_with_its_place(self) -> None:
        for kind, value, why in [
            (Till, {"teas": {"a": {"kind": "red"}}}, 'at "teas.a.kind": expected "green" or "black", got "red"'),
            (Tea, {"kind": "green", "grams": [1, "x"]}, 'at "grams"[1]: expected an integer, got "x"'),
            (Tea, {}, 'at "kind": expected Kind, got nothing'),
            (int, True, "expected an integer, got true"),
            (tuple[int, str], [1], "expected a list of 2, got [1]"),
            (int | None, "x", 'expected an integer or null, got "x"'),
            (Literal["a", 1], "b", 'expected "a" or 1, got "b"'),
        ]:
            with self.assertRaises(Mismatch) as mismatch:
                from_json(kind, value)
            self.assertEqual(str(mismatch.exception), why)
        self.assertEqual(from_json(dict[int, float], {"5": 1}), {5: 1.0})
        self.assertRaises(TypeError, to_json, object())


class Actors(unittest.TestCase):
    def test_a_refusal_leaves_the_state_as_it_was(self) -> None:
        with Host(config={"cents": 7}) as host:
            till = host.start(Till, actor_id="till", state={"cents": 999})
            with self.assertRaisesRegex(Refusal, "the till is full"):
                till.request({"charge": 2})
            self.assertEqual(till.state.cents, 999)
            with self.assertRaisesRegex(Refusal, 'the message at "charge": expected an integer, got "x"'):
                till.request({"charge": "x"})
            self.assertEqual(host.logs, ["till begins at 7"])

    def test_the_host_answers_from_the_script_records_the_calls_and_names_what_has_no_answer(self) -> None:
        with Host() as host:
            host.answer("message-server-host.request", 12).fail("message-server-host.request", "no such actor")
            till = host.start(Till)
            self.assertEqual(till.request({"ask": "bank"}), 12)
            with self.assertRaisesRegex(HostError, "no such actor"):
                till.request({"ask": "bank"})
            self.assertEqual(host.calls_of("message-server-host.request"), [["bank", "total"]] * 2)
            with self.assertRaisesRegex(AssertionError, r"request has no answer; it was called with \('bank', 'total'\); add host.answer"):
                till.request({"ask": "bank"})
            self.assertEqual(till.request("later"), host.clock + 5)
            self.assertEqual(host.timers, {"tea": host.clock + 5})
            self.assertEqual(host.calls[-1], ("timer.set", ["tea", 5, {"kind": "green"}]))

    def test_answers_that_are_left_over_fail_the_test(self) -> None:
        with self.assertRaisesRegex(AssertionError, "left over: clock.now"), Host() as host:
            host.answer("clock.now", 5)

    def test_rows_are_kept_time_stands_still_and_randomness_is_seeded(self) -> None:
        drawn = []
        for _ in range(2):
            with Host(clock=5000, seed=3) as host:
                till = host.start(Till)
                for cents in (1, 2, 3):
                    till.request({"charge": cents})
                self.assertEqual(list(table.items("charge/")), [("charge/1", 1), ("charge/3", 2), ("charge/6", 3)])
                self.assertEqual(table.scan("charge/", 2).cursor, b"charge/3")
                self.assertEqual(time.time(), 5.0)
                drawn.append((random.random(), str(uuid.uuid4())))
        self.assertEqual(drawn[0], drawn[1])

    def test_a_router_finds_the_function_by_method_and_path(self) -> None:
        with Host() as host:
            till = host.start(Till)

            def ask(method: str, uri: str, value: Any = None) -> tuple[int, Any]:
                response = till.http(method, uri, json=value)
                return response.status, response.json() if response.body else None

            self.assertEqual(ask("GET", "/teas/5?x=a+b"), (200, {"number": 5, "x": "a b"}))
            self.assertEqual(ask("HEAD", "/teas/5"), (200, None))
            self.assertEqual(ask("POST", "/teas", {"kind": "green"}), (201, {"kind": "green", "grams": []}))
            wrong = ask("POST", "/teas", {"kind": "red"})
            self.assertEqual(wrong, (400, {"error": 'the body at "kind": expected "green" or "black", got "red"'}))
            self.assertEqual(ask("GET", "/files/a/b%2Fc"), (200, "a/b/c"))
            for method, uri, status in [("PUT", "/teas", 405), ("GET", "/teas/x", 404), ("GET", "/%FF", 404), ("GET", "/", 404)]:
                self.assertEqual(ask(method, uri)[0], status, uri)
            cookie = till.http("POST", "/teas", json={"kind": "green"}).header("set-cookie")
            self.assertEqual(cookie, "seen=1; Path=/; Max-Age=60; HttpOnly; SameSite=Lax")

    def test_requests_to_other_servers_go_to_the_host(self) -> None:
        with Host() as host:
            host.always("http-client.send-http", HttpResponse(201, [], b"made"))
            self.assertEqual(http_client.post("http://example/", json={"a": 1}).text(), "made")
            self.assertEqual(host.calls_of("http-client.send-http")[0][0]["body"], {"a": 1})

    def test_a_call_outside_of_a_test_is_named(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "timer.cancel was called outside of Theater"):
            timer.cancel("tea")


class Events(unittest.TestCase):
    def test_a_server_sent_event_is_lines_of_its_own(self) -> None:
        event = ServerSentEvent("a\r\nb\rc\nd", event="x\ndata: forged", id="7", retry=5)
        self.assertEqual(str(event), "event: x\nid: 7\nretry: 5\ndata: a\ndata: b\ndata: c\ndata: d\n\n")


logging.disable(logging.CRITICAL)

if __name__ == "__main__":
    unittest.main()
