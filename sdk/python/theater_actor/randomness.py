"""Randomness of an actor: the module `random` is seeded when an instance first draws, and not when the component is built."""


def begin() -> None:
    """Is called before each call of the actor."""
