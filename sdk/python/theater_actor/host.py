"""Calling the host: its errors as exceptions."""

from __future__ import annotations

from typing import Callable, TypeVar

from componentize_py_types import Err

from .refusal import HostError

T = TypeVar("T")


def called(call: Callable[[], T]) -> T:
    """Calls the host, and raises its error as a `HostError`."""
    try:
        return call()
    except Err as error:
        raise HostError(error.value) from None
