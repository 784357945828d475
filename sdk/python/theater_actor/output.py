"""The log of the actor. `print`, `sys.stderr` and `logging` write to it, line by line."""

from __future__ import annotations

import io
import sys

from wit_world.imports import runtime


def log(text: str) -> None:
    """Writes a line to the log of the runtime, marked with the actor's name."""
    runtime.log(text)


class _Lines(io.TextIOBase):
    """A stream whose lines are lines of the log."""

    def __init__(self) -> None:
        self._part = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._part = (self._part + text).split("\n")
        for line in lines:
            log(line)
        return len(text)

    def end(self) -> None:
        """Writes what there is of a line: the call ends."""
        if self._part:
            part, self._part = self._part, ""
            log(part)


_STREAMS = (_Lines(), _Lines())


def take_output() -> None:
    """Has standard output and standard error write to the log, in place of what was there when the component was built."""
    sys.stdout, sys.stderr = _STREAMS


def end_lines() -> None:
    """Writes the lines that have no end yet."""
    for stream in _STREAMS:
        stream.end()
