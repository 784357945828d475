"""An actor that is one account of a bank: it holds money and sends it to other accounts.

A transfer is `send` to one account, `receive` to the other, and then `settle` or, if the other has refused the money, `take-back`.
Each may be repeated any number of times, and has its effect once. Money never appears or disappears: each step either moves a
whole amount and records it, or is refused and changes nothing. The balance and the open transfer together always fit into 64 bits,
so taking a transfer back cannot fail.
"""

import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from message import DECLINED, MOST, Books, Outgoing, is_name
from theater_actor import Actor, refuse

ENTRIES = 100
"""How many entries are kept; older ones are only counted."""


def decline(why: str) -> NoReturn:
    refuse(DECLINED + why)


def is_amount(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST


@dataclass
class Account(Books, Actor):
    owner: str | None = None
    balance: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)
    earlier: int = 0

    def handle_request(self, message: Any) -> Any:
        match message:
            case "balance":
                pass
            case "statement":
                return {"owner": self.owner, "balance": self.balance, "earlier": self.earlier, "entries": self.entries}
            case "crash":
                raise RuntimeError("the account was asked to crash")
            case {"open": {"owner": str(owner)}}:
                self.begin(owner)
            case {"deposit": {"cents": cents}} if is_amount(cents):
                self.take_in(cents, {"movement": "deposit"})
            case {"withdraw": {"cents": cents}} if is_amount(cents):
                self.give_out(cents, {"movement": "withdrawal"})
            case {"send": {"number": number, "to": str(to), "cents": cents}} if is_amount(number) and is_amount(cents):
                self.send(Outgoing(number, to, cents))
            case {"receive": {"number": number, "from": str(sender), "cents": cents}} if is_amount(number) and is_amount(cents):
                self.receive(number, sender, cents)
            case {"settle": {"number": number}} if is_amount(number):
                self.close(number)
            case {"take-back": {"number": number}} if is_amount(number):
                self.take_back(number)
            case _:
                refuse(f"the message is not understood: {json.dumps(message)}")
        return {"owner": self.owner, "balance": self.balance, "sent": self.sent, "open": self.open}

    def begin(self, owner: str) -> None:
        if self.owner not in (None, owner):
            decline(f"this is the account of {self.owner}")
        if not is_name(owner):
            decline(f"{json.dumps(owner)} is no name for an account")
        self.owner = owner

    def send(self, transfer: Outgoing) -> None:
        """Sets the money of a new transfer aside. Does nothing if that was done before."""
        if self.open == transfer:
            return
        if self.open is not None:
            decline(f"transfer {self.open.number} to {self.open.to} is still open")
        if transfer.number <= self.sent:
            return
        if transfer.number > self.sent + 1:
            decline(f"the next transfer has number {self.sent + 1}, not {transfer.number}")
        self.give_out(transfer.cents, {"movement": "sent", "number": transfer.number, "to": transfer.to})
        self.sent = transfer.number
        self.open = transfer

    def receive(self, number: int, sender: str, cents: int) -> None:
        """Receives the money of a transfer. Does nothing if that was done before."""
        if self.has_received(number, sender):
            return
        self.take_in(cents, {"movement": "received", "number": number, "from": sender})
        self.received[sender] = number

    def close(self, number: int) -> Outgoing | None:
        """Closes a transfer, and returns it. Does nothing if the transfer is already closed."""
        if number > self.sent:
            decline(f"there is no transfer {number} yet")
        if self.open is None or self.open.number != number:
            return None
        closed, self.open = self.open, None
        return closed

    def take_back(self, number: int) -> None:
        """Takes back the money of a transfer that was refused."""
        closed = self.close(number)
        if closed is not None:
            self.take_in(closed.cents, {"movement": "taken-back", "number": number, "to": closed.to})

    def take_in(self, cents: int, movement: dict[str, Any]) -> None:
        self.check(cents)
        aside = self.open.cents if self.open else 0
        if self.balance + aside + cents > MOST:
            decline(f"{cents} cents are more than an account of {self.balance} can take in")
        self.enter(self.balance + cents, cents, movement)

    def give_out(self, cents: int, movement: dict[str, Any]) -> None:
        self.check(cents)
        if cents > self.balance:
            decline(f"{cents} cents are more than the balance of {self.balance}")
        self.enter(self.balance - cents, cents, movement)

    def check(self, cents: int) -> None:
        if self.owner is None:
            decline("the account was not opened")
        if cents == 0:
            decline("an amount is at least one cent")

    def enter(self, balance: int, cents: int, movement: dict[str, Any]) -> None:
        self.balance = balance
        self.entries.append({**movement, "cents": cents, "balance": balance})
        while len(self.entries) > ENTRIES:
            self.entries.pop(0)
            self.earlier += 1
