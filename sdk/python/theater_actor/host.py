"""Calling the host: its interfaces by their names, and its errors as exceptions."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Callable, TypeVar

from .refusal import HostError

try:
    from componentize_py_types import Err, Ok
except ImportError:  # A test of the actor's own logic, outside of a component.
    from ._outside import Err, Ok

T = TypeVar("T")


def interface(name: str, handler: str | None = None) -> Any:
    """The functions of an interface. In a test outside of a component, `theater_actor.testing` answers them."""
    try:
        return importlib.import_module(f"wit_world.imports.{name}")
    except ImportError:
        if sys.platform != "wasi":
            from . import _outside

            return _outside.interface(name)
        raise ImportError(
            f'the manifest does not grant the handler "{handler}", which the actor uses; add to it:\n'
            f'[[handlers]]\ntype = "{handler}"'
        ) from None


def called(call: Callable[[], T]) -> T:
    """Calls the host, and raises its error as a `HostError`."""
    try:
        return call()
    except Err as error:
        value = error.value
        if isinstance(value, str):
            raise HostError(value) from None
        kind = type(value).__name__.rpartition("_")[2].lower()
        raise HostError(getattr(value, "value", kind), kind) from None


__all__ = ["Err", "Ok", "called", "interface"]
