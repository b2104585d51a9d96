"""Times and people, as tables show them."""

from __future__ import annotations


def date_and_time(at: str | None) -> str | None:
    """Return a UTC time as tables show it: `2026-11-20 22:54Z`."""
    return None if at is None else at[:16].replace("T", " ") + "Z"


def person(identity: str | None) -> str | None:
    """Return `Ada Lovelace` of `Ada Lovelace <ada@example.org>`."""
    return None if identity is None else identity.partition(" <")[0]
