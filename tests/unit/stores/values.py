"""Small values that the tests of the stores share."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

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


def start_python(script: str, *arguments: object, **environ: str) -> subprocess.Popen[str]:
    """Start a process that runs `script` with this tree's package."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environ},
    )
