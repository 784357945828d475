"""Monitors: the actor is told of the end of another one, by `handle_down`. Needs the handler `monitor` in the manifest."""

from __future__ import annotations

from .host import called, interface

_host = interface("monitors", "monitor")


def monitor(actor: str) -> int:
    """Asks to be told when this actor ends. Returns the reference by which `handle_down` names it."""
    return called(lambda: _host.monitor(actor))


def demonitor(reference: int) -> bool:
    """Asks no more. Tells whether there was such a monitor."""
    return _host.demonitor(reference)
