"""A desk: questions, by message or by HTTP, are answered later, when somebody else says what the answer is."""

from dataclasses import dataclass, field
from typing import Any, Literal

from theater_actor import Actor, HttpRequest, HttpResponse, plain, replies


@dataclass
class Answer:
    answer: str


@dataclass
class Refuse:
    refuse: str


@dataclass
class Desk(Actor):
    waiting: list[int] = field(default_factory=list)
    clients: list[int] = field(default_factory=list)

    def handle_request(self, message: Literal["question"] | Answer | Refuse) -> Any:
        if message == "question":
            self.waiting.append(replies.defer())
            return None
        for token in self.waiting:
            if isinstance(message, Answer):
                replies.reply(token, message.answer)
            else:
                replies.refuse_later(token, message.refuse)
        for token in self.clients:
            replies.reply_http(token, plain(200, message.answer if isinstance(message, Answer) else message.refuse))
        told = len(self.waiting) + len(self.clients)
        self.waiting, self.clients = [], []
        return told

    def handle_http(self, request: HttpRequest) -> HttpResponse:
        self.clients.append(replies.defer())
        return plain(500, "nobody gets this")
