"""Trajectories are read strictly from OpenTelemetry's messages, and written as they were read."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_cli.core.digest import InvalidRecord
from llmops_cli.core.result import Completion, ToolCall, Usage
from llmops_cli.core.trajectory import trajectory_of, trajectory_of_completion

BOOKING: list[Any] = [
    {"role": "user", "parts": [{"type": "text", "content": "Book it."}]},
    {
        "role": "assistant",
        "parts": [
            {"type": "tool_call", "id": "a", "name": "book", "arguments": {"seat": "1A"}},
            {"type": "tool_call", "id": "b", "name": "charge", "arguments": None},
        ],
        "finish_reason": "tool_calls",
        "call": {"usage": {"input": 9, "output": 0}, "cost": 0.5, "latency": 1.5},
    },
    {
        "role": "tool",
        "parts": [
            {"type": "tool_call_response", "id": "a", "response": {"ok": True}},
            {"type": "tool_call_response", "id": "b", "response": None},
        ],
    },
    {
        "role": "assistant",
        "parts": [{"type": "text", "content": "Done."}],
        "finish_reason": "stop",
        "call": {"cost": 0.25},
    },
]


def test_a_conversation_is_written_as_it_was_read() -> None:
    assert trajectory_of(BOOKING).plain() == BOOKING


def test_tool_calls_of_all_messages_are_listed_in_order() -> None:
    assert [call.name for call in trajectory_of(BOOKING).tool_calls] == ["book", "charge"]


def test_the_cost_is_the_sum_over_model_calls() -> None:
    assert trajectory_of(BOOKING).cost == 0.75


def test_the_cost_is_not_known_when_one_call_has_none() -> None:
    silent = [*BOOKING, {"role": "assistant", "parts": []}]
    assert trajectory_of(silent).cost is None


def test_a_completion_is_a_trajectory_of_one_assistant_message() -> None:
    completion = Completion(
        text="Done.",
        tool_calls=(ToolCall(name="book", arguments={"seat": "1A"}),),
        finish_reason="tool_calls",
        usage=Usage(input=3, output=2),
        cost=0.5,
    )
    assert trajectory_of_completion(completion).plain() == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "Done."},
                {"type": "tool_call", "name": "book", "arguments": {"seat": "1A"}},
            ],
            "finish_reason": "tool_calls",
            "call": {"usage": {"input": 3, "output": 2}, "cost": 0.5},
        }
    ]


def test_the_id_of_a_tool_call_is_no_part_of_the_answer() -> None:
    calls = [ToolCall(name="book", arguments={}, id=name) for name in ("a", "b")]
    first, second = (Completion(text="", tool_calls=(call,)) for call in calls)
    assert first.digest == second.digest
    assert calls[0] == calls[1]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "messages is a dict, not a list"),
        (["hi"], "messages[0] is a str, not an object"),
        ([{"role": "user"}], "messages[0] has no parts"),
        ([{"role": [], "parts": []}], "messages[0].role is [], not one of system"),
        ([{"role": "user", "parts": "hi"}], "messages[0].parts is a str, not a list"),
        ([{"role": "user", "parts": [], "name": 1}], "messages[0] has an unknown field 'name'"),
        ([{"role": "user", "parts": [3]}], "messages[0].parts[0] has type None"),
        ([{"role": "user", "parts": [{"type": "blob"}]}], "parts[0] has type 'blob'"),
        ([{"role": "user", "parts": [{"type": "text", "content": 1}]}], "content is 1, not a text"),
        ([{"role": "tool", "parts": [{"type": "tool_call_response"}]}], "parts[0] has no response"),
        ([{"role": "user", "parts": [], "finish_reason": 1}], "finish_reason is 1, not a text"),
        ([{"role": "user", "parts": [], "call": {"cost": True}}], "call.cost is True"),
        ([{"role": "user", "parts": [], "call": {"cost": float("nan")}}], "call.cost is nan"),
        ([{"role": "user", "parts": [], "call": {"usage": {"input": 1}}}], "usage has no output"),
        (
            [{"role": "user", "parts": [], "call": {"usage": {"input": -1, "output": 0}}}],
            "call.usage.input is -1",
        ),
    ],
)
def test_what_is_no_trajectory_is_refused_with_its_place(record: object, message: str) -> None:
    with pytest.raises(InvalidRecord) as refusal:
        trajectory_of(record)
    assert message in str(refusal.value)
