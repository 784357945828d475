"""The messages that accounts receive and their answers. All amounts are whole cents, up to 2^64 - 1."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MOST = 2**64 - 1

DECLINED = "declined: "
"""What the error of an account begins with that has refused a message for good: nothing was done."""


@dataclass
class Outgoing:
    """A transfer, as its sender records it."""

    number: int
    to: str
    cents: int


@dataclass
class Status:
    """The current position of an account. The money of the open transfer is not part of the balance."""

    owner: str | None
    balance: int
    sent: int = 0
    open: Outgoing | None = None


@dataclass
class Books(Status):
    """The parts of an account's state that say where money is. The ledger reads them if an account does not answer."""

    received: dict[str, int] = field(default_factory=dict)
    """The number of the last transfer it received from each account."""

    def has_received(self, number: int, sender: str) -> bool:
        return number <= self.received.get(sender, 0)


def is_name(name: str) -> bool:
    """Whether an account may have this name: it needs no escaping in a path, a message or a log."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name) is not None


def total(accounts: dict[str, Books]) -> int:
    """All the money: the balances, and the transfers that have left one account and not arrived at another."""
    money = sum(books.balance for books in accounts.values())
    for name, books in accounts.items():
        to = accounts.get(books.open.to) if books.open else None
        if books.open and not (to and to.has_received(books.open.number, name)):
            money += books.open.cents
    return money
