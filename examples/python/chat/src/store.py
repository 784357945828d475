"""A store that keeps the messages of a chat in order, and returns those after a number."""

from dataclasses import dataclass, field
from typing import Any, Literal

from theater_actor import Actor


@dataclass
class Post:
    action: Literal["post"]
    name: str
    text: str


@dataclass
class Since:
    action: Literal["since"]
    seq: int


@dataclass
class Line:
    seq: int
    name: str
    text: str


@dataclass
class Store(Actor):
    messages: list[Line] = field(default_factory=list)

    def init(self, actor_id: str) -> None:
        print(f"store {actor_id} initialized")

    def handle_request(self, message: Post | Since) -> Any:
        if isinstance(message, Since):
            return {"messages": [line for line in self.messages if line.seq > message.seq]}
        seq = len(self.messages) + 1
        self.messages.append(Line(seq, message.name, message.text))
        return {"seq": seq}
