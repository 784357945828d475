"""Control over the actor's children. Needs the handler `supervisor` in the manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .data import to_json
from .host import called, interface

_host = interface("supervisor", "supervisor")
_labels = interface("labels", "supervisor")


@dataclass(frozen=True)
class ChainEvent:
    """One event of a child's history."""

    hash: bytes
    """20 bytes."""
    parent_hash: bytes | None
    event_type: str
    data: bytes
    """Deterministic CBOR."""
    timestamp: int
    """Milliseconds since the Unix epoch."""


def _initial(state: Any) -> bytes | None:
    return None if state is None else to_json(state)


def spawn(manifest: str) -> str:
    """Starts the actor that a manifest describes, waits for its `init`, and returns its id. The path is relative to the directory
    of this actor's own manifest. Raises a `HostError` that says why the child was not started."""
    return called(lambda: _host.spawn(manifest))


def spawn_as(manifest: str, label: str, state: Any = None) -> str:
    """Like `spawn`, and gives the child a label: the actor `ledger` reaches its child `alice` by the address `ledger/alice`. The
    child begins with `state`, or with that of its manifest."""
    return called(lambda: _labels.spawn_as(manifest, label, _initial(state)))


def get_or_spawn(manifest: str, label: str, state: Any = None) -> str:
    """The id of the child that has this label. If it has ended, it is restarted first; if there is none, one is spawned."""
    return called(lambda: _labels.get_or_spawn(manifest, label, _initial(state)))


def list_children() -> list[str]:
    """The ids of the children, in the order in which they were spawned."""
    return list(_host.list_children())


def stop_child(child: str) -> None:
    """Stops a child; the child's own children stop before it."""
    called(lambda: _host.stop_child(child))


def restart_child(child: str) -> None:
    """Stops a child if it runs, and starts it again under the same id."""
    called(lambda: _host.restart_child(child))


def child_state(child: str) -> Any:
    """The newest state of a child, read without asking it; `None` if it has none."""
    state = called(lambda: _host.get_child_state(child))
    return json.loads(state) if state else None


def child_events(child: str) -> list[ChainEvent]:
    """The newest events of a child, oldest first."""
    events = called(lambda: _host.get_child_events(child))
    return [ChainEvent(it.hash, it.parent_hash, it.event_type, it.data, it.timestamp) for it in events]
