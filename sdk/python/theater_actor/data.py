"""JSON from and to the types that an actor names: dataclasses, lists, dictionaries, unions, literals, enumerations, and what
these contain."""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")


class Mismatch(ValueError):
    """A value that is not of the type that was asked for."""

    def __init__(self, expected: str, value: Any, at: str) -> None:
        got = "nothing" if value is _ABSENT else json.dumps(value, ensure_ascii=False, default=repr)
        super().__init__(f"{f'at {at}: ' if at else ''}expected {expected}, got {got}")
        self.expected, self.at, self.is_absent = expected, at, value is _ABSENT


_ABSENT = object()

_PLAIN = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


@lru_cache(maxsize=None)
def _fields(kind: type) -> list[tuple[dataclasses.Field[Any], Any]]:
    """The fields of a dataclass with their types."""
    hints = typing.get_type_hints(kind)
    return [(field, hints[field.name]) for field in dataclasses.fields(kind) if field.init]


def from_json(kind: type[T] | Any, value: Any, at: str = "") -> T:
    """A value that JSON spelled, as a value of this type. Raises `Mismatch` if it is none.

    A dataclass is read from an object; keys that are no fields are left out, and fields with a default may be absent.
    """
    if kind is Any or kind is object:
        return value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return from_json(inner[0], value, at)
    if origin in (Union, types.UnionType):
        return _of_a_union(inner, value, at)
    if origin is Literal:
        if not any(value == it and type(value) is type(it) for it in inner):
            raise Mismatch(" or ".join(json.dumps(it) for it in inner), value, at)
        return value
    plain = origin or kind
    if dataclasses.is_dataclass(plain):
        return _of_a_dataclass(plain, value, at)
    if plain in (list, tuple, set, frozenset):
        return _of_a_list(plain, inner, value, at)
    if plain is dict:
        if not isinstance(value, dict):
            raise Mismatch("an object", value, at)
        if not inner:
            return value  # type: ignore[return-value]
        return {_key(inner[0], key, at): from_json(inner[1], it, _below(at, key)) for key, it in value.items()}  # type: ignore[return-value]
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        try:
            return plain(value)  # type: ignore[return-value]
        except ValueError:
            raise Mismatch(" or ".join(json.dumps(it.value) for it in plain), value, at) from None
    if kind is None:
        kind = type(None)
    if plain is float and type(value) is int:
        return float(value)  # type: ignore[return-value]
    if kind in _PLAIN:
        if type(value) is not kind:
            raise Mismatch(_PLAIN[kind], value, at)
        return value
    raise TypeError(f"{kind} has no form in JSON{f', at {at}' if at else ''}")


def _below(at: str, key: object) -> str:
    return f'"{key}"' if not at else f'{at.removesuffix(chr(34))}.{key}"' if at.endswith('"') else f"{at}.{key}"


def _key(kind: Any, key: str, at: str) -> Any:
    if kind is int:
        try:
            return int(key)
        except ValueError:
            raise Mismatch("an integer as a key", key, at) from None
    return key


def _of_a_dataclass(kind: Any, value: Any, at: str) -> Any:
    if not isinstance(value, dict):
        names = ", ".join(f'"{field.name}"' for field, _ in _fields(kind))
        raise Mismatch(f"an object with {names or 'no fields'}", value, at)
    found = {}
    for field, hint in _fields(kind):
        if field.name in value:
            found[field.name] = from_json(hint, value[field.name], _below(at, field.name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise Mismatch(_words(hint), _ABSENT, _below(at, field.name))
    return kind(**found)


def _of_a_list(plain: Any, inner: tuple[Any, ...], value: Any, at: str) -> Any:
    if not isinstance(value, list):
        raise Mismatch("a list", value, at)
    if plain is tuple and inner and inner[-1] is not Ellipsis:
        if len(value) != len(inner):
            raise Mismatch(f"a list of {len(inner)}", value, at)
        return tuple(from_json(kind, it, f"{at}[{place}]") for place, (kind, it) in enumerate(zip(inner, value)))
    kind = inner[0] if inner else Any
    return plain(from_json(kind, it, f"{at}[{place}]") for place, it in enumerate(value))


def _of_a_union(kinds: tuple[Any, ...], value: Any, at: str) -> Any:
    closest: Mismatch | None = None
    for kind in kinds:
        try:
            return from_json(kind, value, at)
        except Mismatch as mismatch:
            # The type that fits furthest into the value says best what is wrong. An absent field fits not at all.
            if len(mismatch.at) > len(closest.at if closest else at) and not mismatch.is_absent:
                closest = mismatch
    raise closest or Mismatch(" or ".join(_words(kind) for kind in kinds), value, at)


def _words(kind: Any) -> str:
    if typing.get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_words(it) for it in typing.get_args(kind))
    if typing.get_origin(kind) is Literal:
        return " or ".join(json.dumps(it) for it in typing.get_args(kind))
    plain = typing.get_origin(kind) or kind
    if dataclasses.is_dataclass(plain):
        return "an object with " + (", ".join(f'"{field.name}"' for field, _ in _fields(plain)) or "no fields")  # type: ignore[arg-type]
    return _PLAIN.get(plain, "a list" if plain in (tuple, set, frozenset) else str(getattr(kind, "__name__", kind)))


class _Key(str):
    """The name of a field. Sorted, the fields of a dataclass have the order in which they are declared."""

    place: int

    def __lt__(self, other: str) -> bool:
        return self.place < other.place if isinstance(other, _Key) else str(self) < other


@lru_cache(maxsize=None)
def _keys(kind: type) -> list[_Key]:
    keys = []
    for place, field in enumerate(dataclasses.fields(kind)):
        keys.append(_Key(field.name))
        keys[-1].place = place
    return keys


def plain(value: Any) -> Any:
    """What `json.dumps` cannot write by itself, as something that it can."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key: getattr(value, key) for key in _keys(type(value))}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        # Equal sets are equal bytes, whatever order they have in memory.
        return sorted(value, key=to_json)
    raise TypeError(f"{type(value).__name__} has no form in JSON: {value!r}")


def to_json(value: Any) -> bytes:
    """A value as JSON. Equal values are equal bytes: the keys of a dictionary are sorted, and the fields of a dataclass have the order in
    which they are declared."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False, default=plain).encode()
