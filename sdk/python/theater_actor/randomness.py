"""Randomness of an actor: the module `random` is seeded when an instance first draws, and not when the component is built.

Without this, componentize-py would seed it at the first call of each instance, so that each call would record random bytes,
also those of an actor that never draws. This module is imported before the actor: `from random import choice` gets the
functions below.

`os.urandom`, `secrets` and `uuid.uuid4` need none of it: they ask whenever they are called.
"""

from __future__ import annotations

import random
from typing import Any


class _Lazy(random.Random):
    """A generator that is seeded, from `os.urandom`, when it is first used."""

    _is_seeded = True

    def seed(self, a: Any = None, version: int = 2) -> None:
        self._is_seeded = a is not None
        if self._is_seeded:
            super().seed(a, version)

    def _begin(self) -> None:
        if not self._is_seeded:
            super().seed(None)
            self._is_seeded = True

    def random(self) -> float:
        self._begin()
        return super().random()

    def getrandbits(self, k: int) -> int:
        self._begin()
        return super().getrandbits(k)

    def getstate(self) -> Any:
        self._begin()
        return super().getstate()

    def setstate(self, state: Any) -> None:
        self._is_seeded = True
        super().setstate(state)


def install() -> None:
    """Puts a lazy generator behind the functions of the module `random`."""
    generator = _Lazy()
    own = random._inst  # type: ignore[attr-defined]
    for name, function in list(vars(random).items()):
        if getattr(function, "__self__", None) is own:
            setattr(random, name, getattr(generator, name))
    random._inst = generator  # type: ignore[attr-defined]


install()
