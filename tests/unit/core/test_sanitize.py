from __future__ import annotations

import json
from typing import Any

import pytest

from llmops_cli.core.redact import (
    LONGEST_ID,
    LONGEST_NAME,
    Redactor,
    sanitized,
    without_surrogates,
)
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


def test_names_and_ids_are_cut_and_secrets_are_taken_out_before() -> None:
    long = "sk-canary-123" + "x" * 1_000_000
    answer = Completion(
        text="",
        tool_calls=(ToolCall(name=long, arguments={}),),
        finish_reason=long,
        ids=(long, "https://example.org/" + "p" * 1_000),
        served_model="x" * (LONGEST_NAME - 5) + "sk-canary-123",
        fingerprint=long,
    )
    kept = sanitized(answer, Redactor(["sk-canary-123"]))
    assert kept.ids is not None
    assert len(kept.tool_calls[0].name) == len(kept.finish_reason) == LONGEST_NAME
    assert [len(text) for text in kept.ids] == [LONGEST_ID, 1_020]
    assert len(kept.fingerprint or "") == LONGEST_NAME
    assert "sk-" not in repr(kept)


def test_much_in_the_arguments_of_tools_is_kept_as_text() -> None:
    many = [[0]] * 40_000
    calls = tuple(
        ToolCall(name="f", arguments=arguments) for arguments in ({"x": 1}, many, many, {"x": 2})
    )
    kept = sanitized(Completion(text="", tool_calls=calls), NONE).tool_calls
    assert [type(call.arguments) for call in kept] == [dict, list, str, str]
    assert kept[2].arguments == json.dumps(many)


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
