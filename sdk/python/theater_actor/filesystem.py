"""Files in the directory that the manifest grants. Needs the handler `filesystem`.

Paths are relative to that directory. Each function raises a `HostError` if the path would leave the directory, or if the
operating system refuses.
"""

from __future__ import annotations

from .host import called, interface

_host = interface("filesystem", "filesystem")


def read_file(path: str) -> bytes:
    """The content of a file."""
    return called(lambda: _host.read_file(path))


def read_text(path: str) -> str:
    """The content of a file as text."""
    return read_file(path).decode()


def write_file(path: str, content: str) -> None:
    """Creates a file or replaces its content."""
    called(lambda: _host.write_file(path, content))


def list_files(path: str = ".") -> list[str]:
    """The names in a directory, sorted."""
    return list(called(lambda: _host.list_files(path)))


def delete_file(path: str) -> None:
    """Deletes a file."""
    called(lambda: _host.delete_file(path))


def create_dir(path: str) -> None:
    """Creates a directory inside an existing one."""
    called(lambda: _host.create_dir(path))


def delete_dir(path: str) -> None:
    """Deletes a directory and everything in it."""
    called(lambda: _host.delete_dir(path))


def path_exists(path: str) -> bool:
    """Tells whether there is a file or directory with this path."""
    return called(lambda: _host.path_exists(path))
