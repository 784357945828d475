"""An actor that runs a small bank over HTTP. Each account is a separate actor, and a child of this one. The paths and statuses are
those of the ledger in Rust, `actors/ledger`, which explains them.

The ledger holds no money: only the accounts know where the money is. A transfer that was interrupted is still open at its sender,
and the ledger continues it when it next asks that account. One that it could not finish is remembered, and tried again at each
request.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import theater_actor as theater
from message import DECLINED, MOST, Books, Outgoing, Status, is_name, total
from theater_actor import Actor, ChildEvent, HostError, HttpRequest, HttpResponse, Router, messages, supervisor

NOTICES = 100
"""How many notices are kept."""


class Trouble(Exception):
    """Why an operation was not carried out, with the status of HTTP that says so."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Refused(Trouble):
    """An account has refused, and nothing was done."""

    def __init__(self, why: str) -> None:
        super().__init__(409, why)


class Unanswered(Trouble):
    """An account is not running, crashed, or took too long. It may nevertheless have carried out the message."""

    def __init__(self, why: str) -> None:
        super().__init__(503, why)


def asked(account: str, message: Any) -> Any:
    """Asks an account, and returns what it answers."""
    try:
        return messages.request(account, message)
    except HostError as problem:
        why = str(problem)
        raise (Refused(why.removeprefix(DECLINED)) if why.startswith(DECLINED) else Unanswered(why)) from None


def ask(account: str, message: Any) -> Status:
    """Sends a message to an account, and returns its status."""
    return theater.from_json(Status, asked(account, message))


def no_account(name: str) -> str:
    return f"there is no account {json.dumps(name)}"


def served(route: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """What every resource does: it first finishes what is unfinished, and tells of trouble by a status."""

    @functools.wraps(route)
    def serve(ledger: "Ledger", request: HttpRequest, **params: str) -> HttpResponse:
        ledger.finish()
        try:
            return route(ledger, request, **params)
        except Trouble as trouble:
            return theater.error(trouble.status, str(trouble))

    return serve


@dataclass
class Account:
    id: str
    restarts: int = 0


@dataclass
class Ledger(Actor):
    accounts: dict[str, Account] = field(default_factory=dict)
    unfinished: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Unfinished transfers by sender; a sender can have only one open transfer."""
    notices: list[dict[str, str]] = field(default_factory=list)
    routes = Router()

    def handle_http(self, request: HttpRequest) -> HttpResponse:
        response = self.routes.answer(self, request)
        # End with a line feed, for people who use a terminal.
        response.body = (response.body or b"") + b"\n"
        return response

    def handle_child_event(self, event: ChildEvent) -> None:
        found = next((it for it in self.accounts.items() if it[1].id == event.child_id), None)
        # A child that is being opened is reported by the opening itself.
        if found is None or event.kind == "started":
            return
        name, account = found
        account.restarts += event.kind == "restarted"
        self.note(name, event.kind, event.why)
        if event.kind == "restarted":
            self.finish()

    @routes.get("/")
    @served
    def show(self, request: HttpRequest) -> HttpResponse:
        return theater.json(200, self.overview())

    @routes.post("/accounts")
    @served
    def open(self, request: HttpRequest) -> HttpResponse:
        name = field_of(request, "name", str)
        if not is_name(name):
            raise Trouble(400, "a name has 1 to 32 letters, digits, - and _")
        if name in self.accounts:
            raise Trouble(409, f"there is an account {name} already")
        account = get_or_spawn(name)
        ask(account, {"open": {"owner": name}})
        self.accounts[name] = Account(account)
        return theater.json(201, {"account": name, "balance": 0}).with_header("location", f"/accounts/{name}")

    @routes.get("/accounts/{name}")
    @served
    def account(self, request: HttpRequest, name: str) -> HttpResponse:
        return balance(name, self.status(name))

    @routes.get("/accounts/{name}/statement")
    @served
    def statement(self, request: HttpRequest, name: str) -> HttpResponse:
        return theater.json(200, asked(self.id(name), "statement"))

    @routes.post("/accounts/{name}/deposit")
    @served
    def deposit(self, request: HttpRequest, name: str) -> HttpResponse:
        cents = amount(request)
        return balance(name, ask(self.id(name), {"deposit": {"cents": cents}}))

    @routes.post("/accounts/{name}/withdraw")
    @served
    def withdraw(self, request: HttpRequest, name: str) -> HttpResponse:
        cents = amount(request)
        return balance(name, ask(self.id(name), {"withdraw": {"cents": cents}}))

    @routes.post("/accounts/{name}/crash")
    @served
    def crash(self, request: HttpRequest, name: str) -> HttpResponse:
        account = self.id(name)
        try:
            ask(account, "crash")
        except (Refused, Unanswered) as answer:
            return theater.json(200, {"account": name, "crashed": str(answer)})
        raise Trouble(503, "it is still up")

    @routes.post("/transfers")
    @served
    def transfer(self, request: HttpRequest) -> HttpResponse:
        sender, to = field_of(request, "from", str), field_of(request, "to", str)
        cents = amount(request)
        if sender == to:
            raise Trouble(400, "a transfer is from one account to another")
        # Ask both accounts before money moves, so that no money must be returned because an account is down.
        status = self.status(sender)
        self.status(to)
        if unfinished := self.unfinished.get(sender):
            number, receiver, why = unfinished["number"], unfinished["to"], unfinished["why"]
            raise Trouble(409, f"transfer {number} of {sender} to {receiver} is not finished: {why}")
        outgoing = Outgoing(status.sent + 1, to, cents)
        shown = {"from": sender, "number": outgoing.number, "to": to, "cents": cents}
        try:
            self.carry_out(sender, outgoing)
        except Unanswered as trouble:
            return theater.json(202, {**shown, "why": str(trouble)})
        return theater.json(201, shown)

    def id(self, name: str) -> str:
        if name not in self.accounts:
            raise Trouble(404, no_account(name))
        return self.accounts[name].id

    def status(self, name: str) -> Status:
        """The status of an account. If an interruption has left a transfer open there, it is continued first."""
        status = ask(self.id(name), "balance")
        if status.open is None:
            return status
        self.carry_on(name, status.open)
        return ask(self.id(name), "balance")

    def finish(self) -> None:
        """Tries again to finish transfers that could not be finished before."""
        for sender, it in sorted(self.unfinished.items()):
            self.carry_on(sender, Outgoing(it["number"], it["to"], it["cents"]))

    def carry_on(self, sender: str, outgoing: Outgoing) -> None:
        """Carries out a transfer that nobody waits for. If it is refused, a notice records this."""
        try:
            self.carry_out(sender, outgoing)
        except Refused as refused:
            self.note(sender, f"transfer {outgoing.number} to {outgoing.to} refused", str(refused))
        except Unanswered:
            pass

    def carry_out(self, sender: str, outgoing: Outgoing) -> None:
        """Does the remaining steps of a transfer, and remembers the transfer if some could not be done."""
        self.unfinished.pop(sender, None)
        try:
            self.attempt(sender, outgoing)
        except Unanswered as trouble:
            shown = {"from": sender, "number": outgoing.number, "to": outgoing.to, "cents": outgoing.cents}
            self.unfinished[sender] = {**shown, "why": str(trouble)}
            raise

    def attempt(self, sender: str, outgoing: Outgoing) -> None:
        """Does all steps of a transfer from the first one, whatever was done before. Each step has its effect only once."""
        number, cents = outgoing.number, outgoing.cents
        if self.ask(sender, {"send": outgoing}).open != outgoing:
            return
        refused = None
        try:
            self.ask(outgoing.to, {"receive": {"number": number, "from": sender, "cents": cents}})
        except Refused as why:
            # Any other trouble leaves it open: the receiver may have the money, so it cannot be given back before that is known.
            refused = why
        last = "take-back" if refused else "settle"
        try:
            self.ask(sender, {last: {"number": number}})
        except Refused as why:
            raise Unanswered(str(why)) from None
        if refused:
            raise refused

    def ask(self, name: str, message: Any) -> Status:
        """Sends a message of a transfer to an account. An unknown account will never take part in the transfer."""
        if name not in self.accounts:
            raise Refused(no_account(name))
        return ask(self.accounts[name].id, message)

    def overview(self) -> Any:
        """Everything that the ledger can show."""
        standings = self.standings()
        if any(isinstance(it, Status) and it.open for it in standings.values()):
            for name in sorted(self.accounts):
                try:
                    self.status(name)
                except Trouble:
                    # The account does not answer; the list of accounts says so.
                    continue
            standings = self.standings()
        books = self.books(standings)
        accounts = {}
        for name, account in self.accounts.items():
            it = standings[name]
            if isinstance(it, Status):
                accounts[name] = {"balance": it.balance, "restarts": account.restarts}
            else:
                last = books[name].balance if books else None
                accounts[name] = {"balance": last, "restarts": account.restarts, "unavailable": str(it)}
        return {
            "accounts": accounts,
            "total": None if books is None else total(books),
            "unfinished": list(self.unfinished.values()),
            "notices": self.notices,
        }

    def standings(self) -> dict[str, Status | Trouble]:
        found: dict[str, Status | Trouble] = {}
        for name, account in sorted(self.accounts.items()):
            try:
                found[name] = ask(account.id, "balance")
            except Trouble as trouble:
                found[name] = trouble
        return found

    def books(self, standings: dict[str, Status | Trouble]) -> dict[str, Books] | None:
        """Where the money is: the answers of the accounts if all have answered and no transfer is open, otherwise their states."""
        if all(isinstance(it, Status) and it.open is None for it in standings.values()):
            return {name: Books(it.owner, it.balance, it.sent) for name, it in standings.items() if isinstance(it, Status)}
        try:
            none = {"owner": None, "balance": 0}
            read = lambda child: theater.from_json(Books, supervisor.child_state(child) or none)  # noqa: E731
            return {name: read(account.id) for name, account in sorted(self.accounts.items())}
        except HostError:
            return None

    def note(self, account: str, event: str, why: str | None = None) -> None:
        theater.log(f"account {account}: {event}{'' if why is None else f': {why}'}")
        notice = {"account": account, "event": event}
        self.notices = [*self.notices, notice if why is None else {**notice, "why": why}][-NOTICES:]


def get_or_spawn(owner: str) -> str:
    """The account that has its owner's name as its label, which an interrupted opening may have left. One that is not there is
    spawned."""
    try:
        return supervisor.get_or_spawn("account.toml", owner)
    except HostError as problem:
        raise Trouble(503, str(problem)) from None


def field_of(request: HttpRequest, name: str, kind: type) -> Any:
    """A field of the body. The client gets status 400 if there is none."""
    body = request.json(dict)
    if type(body.get(name)) is not kind:
        raise Trouble(400, f'the body is not understood: "{name}" is missing, or is no {kind.__name__}')
    return body[name]


def amount(request: HttpRequest) -> int:
    cents = field_of(request, "cents", int)
    if not 1 <= cents <= MOST:
        raise Trouble(400, "an amount is at least one cent")
    return cents


def balance(account: str, status: Status) -> HttpResponse:
    shown: dict[str, Any] = {"account": account, "balance": status.balance}
    return theater.json(200, {**shown, "open": status.open} if status.open else shown)
