"""Narrow what a call came to, or fail with it."""

from __future__ import annotations

from llmops_cli.core.result import Completion, Failure


def completion(outcome: object) -> Completion:
    assert isinstance(outcome, Completion), outcome
    return outcome


def failed(outcome: object) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome
