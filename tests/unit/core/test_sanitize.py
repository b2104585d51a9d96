from __future__ import annotations

from typing import Any

import pytest

from llmops_cli.core.redact import Redactor, sanitized, without_surrogates
from llmops_cli.core.result import Completion, ToolCall

NONE = Redactor()


def arguments(value: Any) -> Any:
    call = ToolCall(name="f", arguments=value)
    return sanitized(Completion(text="", tool_calls=(call,)), NONE).tool_calls[0].arguments


def test_ordinary_text_is_the_very_same_object() -> None:
    for text in ("plain", "größe", "日本語 🙂"):
        assert without_surrogates(text) is text


@pytest.mark.parametrize("half", ["\ud800", "a\udc00b\ud800"])
def test_half_a_pair_becomes_a_replacement_character(half: str) -> None:
    assert without_surrogates(half).encode("utf-8").decode("utf-8").count("\ufffd") >= 1


def test_arguments_that_json_carries_stay() -> None:
    assert arguments({"a": [1, 2.5, None, "x"]}) == {"a": [1, 2.5, None, "x"]}


def test_integers_of_64_bits_stay_integers() -> None:
    assert arguments({"id": 12345678901234567890}) == {"id": 12345678901234567890}


def test_arguments_without_a_digest_are_kept_as_text() -> None:
    assert arguments({"x": float("inf")}) == '{"x": Infinity}'


def test_deeply_nested_arguments_are_kept_as_text() -> None:
    deep: Any = []
    for _ in range(600):
        deep = [deep]
    kept = arguments(deep)
    assert Completion(text="", tool_calls=(ToolCall(name="f", arguments=kept),)).digest


def test_an_answer_is_dated_once() -> None:
    assert sanitized(Completion(text="x", at="2026-01-01T00:00:00+00:00"), NONE).at == (
        "2026-01-01T00:00:00+00:00"
    )


def test_secrets_are_taken_out_of_everything_that_is_text() -> None:
    redact = Redactor(["sk-canary-123"])
    key = "sk-canary-123"
    found = sanitized(
        Completion(
            text=key,
            tool_calls=(ToolCall(name=key, arguments={key: [key]}),),
            finish_reason=key,
            contexts=(key,),
            ids=(key,),
            served_model=key,
            fingerprint=key,
        ),
        redact,
    )
    assert "canary" not in repr(found)
