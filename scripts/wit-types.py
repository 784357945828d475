#!/usr/bin/env python3
"""Writes the interfaces of wit/ that an actor imports as TypeScript declarations: sdk/ts/ntwk.d.ts. Prints them; with --check, compares."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "sdk/ts/ntwk.d.ts"
PLAIN = {"bool": "boolean", "string": "string", "u8": "number", "u16": "number", "u32": "number", "u64": "number"}
TOKEN = re.compile(r"///[^\n]*|//[^\n]*|->|%?[a-z][a-z0-9-]*|[{}()<>,:;=./@_]")


def camel(name: str) -> str:
    first, *rest = name.lstrip("%").split("-")
    return first + "".join(word.capitalize() for word in rest)


def pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.lstrip("%").split("-"))


class Reader:
    """Reads one file of WIT: one interface, as the house has it."""

    def __init__(self, text: str):
        self.tokens = [it for it in TOKEN.findall(text) if not it.startswith("//")]
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if expected is not None and token != expected:
            raise SystemExit(f"expected {expected!r}, found {token!r}")
        self.at += 1
        return token

    def listed(self, end: str, item):
        items = []
        while self.peek() != end:
            items.append(item())
            if self.peek() == ",":
                self.take()
        self.take(end)
        return items

    def type(self) -> str:
        name = self.take()
        if name in PLAIN:
            return PLAIN[name]
        if name == "_":
            return "void"
        if name not in ("list", "option", "result", "tuple"):
            return pascal(name)
        parts = []
        if self.peek() == "<":
            self.take()
            inner = self.peek()
            parts = self.listed(">", self.type)
        if name == "list":
            return "Uint8Array" if inner == "u8" else f"({parts[0]})[]" if " " in parts[0] else f"{parts[0]}[]"
        if name == "option":
            return f"{parts[0]} | null | undefined"
        if name == "tuple":
            return f"[{', '.join(parts)}]"
        ok, err = [*parts, "void", "void"][:2]
        return f"Result<{ok}, {err}>"

    def field(self):
        name = self.take()
        self.take(":")
        return name, self.type()

    def case(self):
        name, payload = self.take(), None
        if self.peek() == "(":
            self.take()
            payload = self.type()
            self.take(")")
        return name, payload

    def interface(self) -> tuple[str, list[str]]:
        for word in ("package", "ntwk", ":", "theater", ";", "interface"):
            self.take(word)
        name, lines = self.take(), []
        self.take("{")
        while self.peek() != "}":
            lines.append(self.item())
        return name, lines

    def item(self) -> str:
        kind = self.take()
        if kind == "use":
            source = self.take()
            self.take(".")
            self.take("{")
            names = self.listed("}", self.take)
            self.take(";")
            return f"import type {{ {', '.join(map(pascal, names))} }} from 'ntwk:theater/{source}';"
        if kind == "type":
            name = self.take()
            self.take("=")
            meaning = self.type()
            self.take(";")
            return f"export type {pascal(name)} = {meaning};"
        if kind in ("record", "variant", "enum"):
            name = self.take()
            self.take("{")
            return self.declared(kind, pascal(name))
        self.take(":")
        self.take("func")
        self.take("(")
        params = [f"{camel(name)}: {meaning}" for name, meaning in self.listed(")", self.field)]
        result = "void"
        if self.peek() == "->":
            self.take()
            result = self.type()
            # An error is thrown.
            result = re.sub(r"^Result<(.*), [^,]*>$", r"\1", result)
        self.take(";")
        name, text = camel(kind), f"({', '.join(params)}): {result};"
        if name == "delete":
            return f"const delete_: {text[:-1].replace('): ', ') => ', 1)};\n  export {{ delete_ as delete }};"
        return f"export function {name}{text}"

    def declared(self, kind: str, name: str) -> str:
        if kind == "record":
            fields = [
                f"    {camel(field)}{'?' if 'undefined' in meaning else ''}: {meaning};"
                for field, meaning in self.listed("}", self.field)
            ]
            return "\n".join([f"export interface {name} {{", *fields, "  }"])
        if kind == "enum":
            return f"export type {name} = {' | '.join(repr(case) for case in self.listed('}', self.take))};"
        cases = [
            f"{{ tag: '{case.lstrip('%')}'{f'; val: {payload}' if payload else ''} }}"
            for case, payload in self.listed("}", self.case)
        ]
        return f"export type {name} =\n    | " + "\n    | ".join(cases) + ";"


def declarations() -> str:
    text = [
        "// The interfaces of `wit/` as TypeScript sees them. scripts/wit-types.py writes this file.",
        "",
        "/** A result inside of a value. As what a function returns, the error is thrown instead. */",
        "type Result<T, E> = { tag: 'ok'; val: T } | { tag: 'err'; val: E };",
    ]
    for path in sorted((ROOT / "wit").glob("*.wit")):
        if path.name == "worlds.wit":
            continue
        name, lines = Reader(path.read_text()).interface()
        text += ["", f"declare module 'ntwk:theater/{name}' {{", *(f"  {line}" for line in lines), "}"]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    written = declarations()
    if sys.argv[1:] == ["--check"]:
        if OUT.read_text() != written:
            raise SystemExit(f"{OUT.relative_to(ROOT)} differs from wit/: run scripts/wit-types.py > {OUT.relative_to(ROOT)}")
    else:
        sys.stdout.write(written)
