"""Short ways to write a case, an answer and what a scorer made of them."""

from __future__ import annotations

from typing import Any

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored


def expecting(expected: Json = None) -> Case:
    return Case(id="one", expected=expected)


def reply(text: str, **more: Any) -> Completion:
    return Completion(text=text, **more)


def value(result: object) -> float:
    """The value of a score; anything else fails the test and shows itself."""
    assert isinstance(result, Score), result
    return result.value


def reason(result: object) -> str:
    assert isinstance(result, Score), result
    return result.reason


def why(result: object) -> str:
    assert isinstance(result, Unscored), result
    return result.why
