"""Short ways to write a case, an answer and what a scorer made of them."""

from __future__ import annotations

from typing import Any

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.result import Completion, Score, Unscored


def expecting(expected: Json = None) -> Case:
    return Case(id="one", expected=expected)


def said(text: str, **more: Any) -> Completion:
    return Completion(text=text, **more)


def value(given: object) -> float:
    """The value of a score; anything else fails the test and shows itself."""
    assert isinstance(given, Score), given
    return given.value


def reason(given: object) -> str:
    assert isinstance(given, Score), given
    return given.reason


def why(given: object) -> str:
    assert isinstance(given, Unscored), given
    return given.why
