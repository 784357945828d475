"""A counter, which also draws what differs from run to run. The actors beside this directory do the same in other
languages."""

import datetime
import json as text_of
import logging
import random
import secrets
import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from theater_actor import Actor, HttpRequest, HttpResponse, error, json, method_not_allowed, refuse


def chance() -> dict[str, Any]:
    """What a program takes from outside without asking the host by name."""
    return {
        "time": time.time(),
        "monotonic": time.monotonic(),
        "date": datetime.datetime.now().isoformat(),
        "random": [random.random(), random.random()],
        "secrets": secrets.token_hex(8),
        "uuid": str(uuid.uuid4()),
        "set": list({"a", "b", "c", "d", "e"}),
        "hash": hash("theater"),
    }


KEYS = [f"key {at * 7919 % 10_007}" for at in range(10_000)]


def orders() -> dict[str, Any]:
    """Ten thousand keys, in the orders in which the language gives them."""

    def ends(keys: list[str]) -> str:
        return ",".join(keys[:3] + keys[-3:])

    return {"dict": ends(list(dict.fromkeys(KEYS))), "set": ends(list(set(KEYS))), "hash": hash(tuple(KEYS))}


@dataclass
class Counter(Actor):
    count: int = 0
    keys: dict[str, float] = field(default_factory=dict)

    def init(self, actor_id: str) -> None:
        print(f"counter {actor_id} begins at", self.count)

    def handle_request(self, message: Any) -> Any:
        match message:
            case "get":
                return {"count": self.count}
            case "keys":
                self.keys = {key: random.random() for key in set(KEYS)}
                return orders()
            case "log":
                logging.getLogger("counter").warning("counted %s", self.count)
                return None
            case "chance":
                return chance()
            case "text":
                return "Grüße, 世界 🎭"
            case "crash":
                raise TypeError("crashed on purpose")
            case "exit":
                sys.exit(3)
            case {"add": n}:
                return self.add(n)
            case {"sleep": seconds}:
                return time.sleep(seconds)
        refuse(f"unknown message {text_of.dumps(message)}")

    def handle_http(self, request: HttpRequest) -> HttpResponse:
        match request.path, request.method:
            case "/", "GET":
                return json(200, {"count": self.count})
            case "/", _:
                return method_not_allowed("GET")
            case "/increment", "POST":
                return json(200, self.add(1))
            case "/increment", _:
                return method_not_allowed("POST")
        return error(404, f"nothing at {request.path}")

    def add(self, n: Any) -> Any:
        self.count += n if isinstance(n, int) else 0
        if not isinstance(n, int):
            refuse(f"{text_of.dumps(n)} cannot be added")
        return {"count": self.count}
