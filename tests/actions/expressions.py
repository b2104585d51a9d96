"""GitHub's `${{ expressions }}`, as far as actions and workflows here use them.

Literals, contexts, `!`, `==`, `!=`, `&&`, `||`, parentheses and calls; with GitHub's loose
equality (case does not count, unlike types compare as numbers) and its falsy values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(==|!=|&&|\|\||[!(),])|([\w.*-]+))")
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
Functions = Mapping[str, Callable[..., Any]]


def evaluate(text: str, contexts: Mapping[str, Any], functions: Functions) -> Any:
    """The value of one expression, without its `${{ }}`."""
    tokens: list[str] = []
    at = 0
    while text[at:].strip():
        lexeme = _TOKEN.match(text, at)
        assert lexeme, f"no expression: {text!r} at {at}"
        tokens.append(lexeme[0].strip())
        at = lexeme.end()
    reader = _Reader(tokens, contexts, functions)
    value = reader.either()
    assert not reader.tokens, f"no expression: {text!r}"
    return value


def interpolate(text: Any, contexts: Mapping[str, Any], functions: Functions) -> str:
    """`text` with every expression in it replaced by its value."""
    if not isinstance(text, str):
        return shown(text)
    return _EXPRESSION.sub(lambda lexeme: shown(evaluate(lexeme[1], contexts, functions)), text)


def shown(value: Any) -> str:
    """A value as GitHub writes it into a text."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Reader:
    def __init__(
        self, tokens: list[str], contexts: Mapping[str, Any], functions: Functions
    ) -> None:
        self.tokens = tokens
        self._contexts = contexts
        self._functions = functions

    def either(self) -> Any:
        value = self._both()
        while self._taken("||"):
            right = self._both()
            value = value or right
        return value

    def _both(self) -> Any:
        value = self._equal()
        while self._taken("&&"):
            right = self._equal()
            value = value and right
        return value

    def _equal(self) -> Any:
        value = self._one()
        while self.tokens and self.tokens[0] in {"==", "!="}:
            same = self.tokens.pop(0) == "=="
            value = _alike(value, self._one()) is same
        return value

    def _one(self) -> Any:
        token = self.tokens.pop(0)
        if token == "!":
            return not self._one()
        if token == "(":
            value = self.either()
            assert self._taken(")")
            return value
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if self._taken("("):
            arguments = []
            while not self._taken(")"):
                arguments.append(self.either())
                self._taken(",")
            return self._functions[token](*arguments)
        if token in {"true", "false", "null"}:
            return {"true": True, "false": False, "null": None}[token]
        if token.isdecimal():
            return int(token)
        return self._context(token)

    def _context(self, path: str) -> Any:
        first, *rest = path.split(".")
        assert first in self._contexts, f"no context {first!r} here"
        value = self._contexts[first]
        for name in rest:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def _taken(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False


def _alike(left: Any, right: Any) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left.lower() == right.lower()
    if type(left) is type(right):
        return bool(left == right)
    return _number(left) == _number(right)


def _number(value: Any) -> float:
    try:
        return float(value or 0)
    except (TypeError, ValueError):
        return float("nan")
