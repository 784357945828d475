"""The log of the actor. `print`, `sys.stderr` and `logging` write to it, line by line."""

from __future__ import annotations

import io
import sys

from .host import interface

_host = interface("runtime")


def log(text: str) -> None:
    """Writes a line to the log of the runtime, marked with the actor's name."""
    _host.log(text)


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


def take_logging() -> None:
    """Has `logging` write to the log, from the level INFO on, if the actor uses it and has not set it up itself.

    The lines have no time: the log has one. So a line asks for no clock, which would be recorded, and need a grant.
    """
    logging = sys.modules.get("logging")
    if logging is None:
        return

    class Handler(logging.Handler):  # type: ignore[name-defined]
        def emit(self, record):  # type: ignore[no-untyped-def]
            for line in self.format(record).split("\n"):
                log(line)

    logging.time = _Timeless(logging.time)  # type: ignore[attr-defined]
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = logging.logAsyncioTasks = False  # type: ignore[attr-defined]
    if not logging.root.handlers:
        handler = Handler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logging.root.addHandler(handler)
        if logging.root.level == logging.WARNING:
            logging.root.setLevel(logging.INFO)


class _Timeless:
    """The module `time` without the time."""

    def __init__(self, time: object) -> None:
        self._time = time

    def __getattr__(self, name: str) -> object:
        return getattr(self._time, name)

    @staticmethod
    def time() -> float:
        return 0.0

    @staticmethod
    def time_ns() -> int:
        return 0
