"""Small values that the tests of the stores share."""

from __future__ import annotations

from hashlib import sha256

from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.result import Completion, Purpose, Usage


def named(what: object) -> str:
    """A digest that follows from `what`."""
    return f"sha256:{sha256(str(what).encode()).hexdigest()}"


def trial_key(what: object, n: int = 0, purpose: Purpose = "gate") -> TrialKey:
    return TrialKey(named(what), purpose, n)


def score_key(what: object) -> ScoreKey:
    return ScoreKey(named("scorer"), named("facts"), named(what))


def answer(text: str = "Berlin", at: str | None = "2026-11-01T08:00:00+00:00") -> Completion:
    return Completion(
        text=text,
        usage=Usage(input=12, output=3),
        cost=0.0002,
        served_model="tiny-1",
        at=at,
    )


def plain(text: str) -> str:
    """A redactor for tests that have no secret."""
    return text
