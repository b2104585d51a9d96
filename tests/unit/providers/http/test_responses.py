"""Token counts of both APIs become one usage, whatever a cache read and wrote."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_cli.core.result import Usage
from llmops_cli.providers.application.answer_fields import completion_of
from llmops_cli.providers.http.responses import anthropic_usage, openai_usage

OPENAI: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
ANTHROPIC: dict[str, Any] = {"input_tokens": 10, "output_tokens": 5}


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        ({}, Usage(input=100, output=5)),
        (
            {"prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 60}},
            Usage(input=100, output=5, cached_input=30, cache_write=60),
        ),
        (
            {"cache_read_input_tokens": 30, "cache_creation_input_tokens": 60},
            Usage(input=100, output=5, cached_input=30, cache_write=60),
        ),
        (
            {"prompt_tokens_details": {"cached_tokens": 90, "cache_write_tokens": 60}},
            Usage(input=100, output=5, cached_input=90, cache_write=10),
        ),
        ({"prompt_tokens_details": {"cache_write_tokens": "many"}}, Usage(input=100, output=5)),
    ],
)
def test_what_a_cache_read_and_wrote_is_a_part_of_the_prompt(
    cache: dict[str, Any], expected: Usage
) -> None:
    assert openai_usage({**OPENAI, **cache}) == expected


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        ({}, Usage(input=10, output=5)),
        (
            {"cache_read_input_tokens": 30, "cache_creation_input_tokens": 60},
            Usage(input=100, output=5, cached_input=30, cache_write=60),
        ),
        (
            {
                "cache_creation_input_tokens": 60,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 20,
                    "ephemeral_1h_input_tokens": 40,
                },
            },
            Usage(input=70, output=5, cache_write=60, cache_write_1h=40),
        ),
        ({"cache_creation_input_tokens": None, "cache_creation": None}, Usage(input=10, output=5)),
    ],
)
def test_what_claude_s_cache_read_and_wrote_is_added_to_the_input(
    cache: dict[str, Any], expected: Usage
) -> None:
    assert anthropic_usage({**ANTHROPIC, **cache}) == expected
    said = completion_of({"text": "hi", "usage": {**ANTHROPIC, **cache}})
    assert said.usage == expected
