"""Which calls of production become drafts, and what is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.prompt import Case, Message, Prompt
from llmops_cli.watch.drafts import KINDS, Drafts, draft_cases, last_text, mask

PROMPT = Prompt(
    name="support",
    model="tiny",
    messages=(Message(role="user", content="{{ question }}"),),
    inputs={"question": {"type": "string"}},
)


def call(number: int, question: str, **more: Any) -> dict[str, Any]:
    """A stored call; numbers are words so that no two questions are alike by them."""
    return {
        "id": number,
        "trace": f"{number:032x}",
        "span": f"{number:016x}",
        "time": float(number),
        "seconds": 1.0,
        "satisfied": None,
        "error": "",
        "version": "support@v1",
        "inputs": "",
        "input": json.dumps([{"role": "user", "content": question}]),
        "output": json.dumps([{"role": "assistant", "content": "an answer"}]),
        **more,
    }


def drafted(*rows: Mapping[str, Any], kind: str = "failed", **how: Any) -> Drafts:
    known = how.pop("known", [])
    return draft_cases(rows, PROMPT, known, kinds=[kind], most=30, **how)


REFUND, PASSWORD = "where is my refund", "how do I change my password"


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("thumbs-down", [call(1, REFUND, satisfied=0.0), call(2, PASSWORD, satisfied=1.0)]),
        ("failed", [call(1, REFUND, error="timeout"), call(2, PASSWORD)]),
        ("slow", [call(1, REFUND, seconds=60.0), call(2, PASSWORD)]),
        ("rare", [call(1, REFUND), call(2, PASSWORD)]),
        ("disagreement", [call(1, REFUND), call(2, REFUND, output='"never heard of it"')]),
    ],
)
def test_each_kind_finds_its_call(kind: str, rows: list[dict[str, Any]]) -> None:
    known = [Case(id="c1", inputs={"question": PASSWORD})] if kind == "rare" else []
    (case,) = drafted(*rows, kind=kind, known=known).cases
    assert case["inputs"] == {"question": REFUND}
    assert case["draft"] is True
    assert case["tags"] == ["production", kind]
    assert "expected" not in case


def test_every_kind_is_tried_above() -> None:
    assert set(KINDS) == {"thumbs-down", "failed", "slow", "rare", "disagreement"}


def test_what_is_like_a_case_or_another_draft_is_left_out() -> None:
    rows = [
        call(1, "How do I change my password?", error="x"),
        call(2, REFUND, error="x"),
        call(3, f"{REFUND}!", error="x"),
    ]
    drafts = drafted(*rows, known=[Case(id="c1", inputs={"question": PASSWORD})])
    assert [case["inputs"] for case in drafts.cases] == [{"question": f"{REFUND}!"}]
    assert drafts.near == 2


def test_a_credential_leaves_its_call_out() -> None:
    drafts = drafted(call(1, "my key is sk-proj-abcdefghijklmnop1234", error="x"))
    assert (drafts.cases, drafts.credentials) == ([], 1)


def test_addresses_and_numbers_are_masked_unless_kept() -> None:
    row = call(1, "I am ada@example.org, +49 170 1234567, card 4111 1111 1111 1111", error="x")
    drafts = drafted(row)
    (case,) = drafts.cases
    assert case["inputs"] == {"question": "I am [mail], [number], card [number]"}
    assert drafts.masked == 1
    (kept,) = drafted(row, keep_pii=True).cases
    assert "ada@example.org" in str(kept["inputs"])


@pytest.mark.parametrize("text", ["order 12345", "in 2026", "v1.2.3", "3.14 of 100"])
def test_short_numbers_are_not_masked(text: str) -> None:
    assert mask(text) == text


def test_inputs_stand_in_the_span_or_are_the_users_only_message() -> None:
    row = call(1, "ignored", error="x", inputs='{"question": "from the span"}')
    (case,) = drafted(row).cases
    assert case["inputs"] == {"question": "from the span"}
    assert drafted(call(2, "x", error="x", inputs="not json")).without_inputs == 1


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ('[{"role": "user", "parts": [{"type": "text", "content": "a"}]}]', "a"),
        ('[{"role": "user", "content": [{"type": "text", "text": "b"}]}]', "b"),
        ('{"messages": [{"role": "user", "content": "c"}]}', "c"),
        ('[{"role": "user", "content": "d"}, {"role": "assistant", "content": "e"}]', "d"),
        ("plain text", "plain text"),
    ],
)
def test_the_last_message_is_found_in_every_dialect(messages: str, text: str) -> None:
    assert last_text(messages, role="user") == text


def test_without_messages_it_says_how_to_get_them() -> None:
    with pytest.raises(Refused, match="no call of support has messages"):
        drafted(call(1, "x", input=""))
    with pytest.raises(Refused, match="no call of support has messages"):
        drafted(call(1, "x", version="other@v1"))
