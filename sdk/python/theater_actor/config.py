"""The plain values that the operator wrote into the manifest, under `[config]`."""

from __future__ import annotations

import json
from typing import Any

from .host import interface

_host = interface("config")


def get(key: str, default: Any = None) -> Any:
    """The value of a key; `default` if the manifest does not have it."""
    value = _host.get(key)
    return default if value is None else json.loads(value)


def required(key: str) -> Any:
    """The value of a key. Raises `KeyError` if the manifest does not have it."""
    value = _host.get(key)
    if value is None:
        raise KeyError(f'the manifest has no key "{key}" under [config]')
    return json.loads(value)
