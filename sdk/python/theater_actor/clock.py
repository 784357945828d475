"""The time. Needs the handler `clock` in the manifest. `time.time` and `datetime.now` read the same clock."""

from wit_world.imports import clock as _host


def now() -> int:
    """Milliseconds since the Unix epoch, as the chain records them."""
    return _host.now()
