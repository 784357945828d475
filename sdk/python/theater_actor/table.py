"""Rows of the actor's own, sorted by key, on disk and outside of its state. Needs the handler `table` in the manifest.

What a call writes is undone if the call is refused. Each function raises a `HostError` if a key or a value is too long, if the
call has written too often, or if the disk is nearly full; then nothing has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .data import to_json
from .host import called, interface

_host = interface("table", "table")

Key = bytes | str
"""A key: bytes, or a text as UTF-8."""


@dataclass(frozen=True)
class Page:
    """Rows in the order of their keys, each a key and a value. The cursor, given to the next scan, asks for the rows after
    them."""

    rows: list[tuple[bytes, bytes]]
    cursor: bytes | None


def _bytes(key: Key) -> bytes:
    return key.encode() if isinstance(key, str) else key


def get(key: Key, default: Any = None) -> Any:
    """The value of a key, which was written by `put`."""
    value = get_bytes(key)
    return default if value is None else json.loads(value)


def get_bytes(key: Key) -> bytes | None:
    """The value of a key as bytes."""
    return called(lambda: _host.get(_bytes(key)))


def put(key: Key, value: Any) -> None:
    """Writes a row with a value as JSON, in place of the one with this key if there is one."""
    put_bytes(key, to_json(value))


def put_bytes(key: Key, value: bytes) -> None:
    """Writes a row."""
    called(lambda: _host.put(_bytes(key), value))


def delete(key: Key) -> bool:
    """Removes a row. Tells whether there was one."""
    return called(lambda: _host.delete(_bytes(key)))


def scan(prefix: Key = "", limit: int = 100, cursor: bytes | None = None) -> Page:
    """Rows whose keys begin with `prefix`: at most `limit`, and no more than the limits of the actor allow."""
    page = called(lambda: _host.scan(_bytes(prefix), limit, cursor))
    return Page([(row.key, row.value) for row in page.rows], page.cursor)


def items(prefix: Key = "") -> Iterator[tuple[str, Any]]:
    """All rows whose keys begin with `prefix`, with their values as JSON."""
    cursor = None
    while True:
        page = scan(prefix, 1000, cursor)
        for key, value in page.rows:
            yield key.decode(), json.loads(value)
        cursor = page.cursor
        if cursor is None:
            return


def count() -> int:
    """How many rows there are."""
    return _host.count()
