"""Recorded answers are found, named by what they say, and never replaced by a call."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Message, Model, Request
from llmops_cli.core.result import Completion, Failure, FailureKind, Outcome, ToolCall, Usage
from llmops_cli.providers.application.answer_fields import Malformed
from llmops_cli.providers.replay import Recorded, open_replay, parse_record
from tests.outcomes import failed

QUESTION = Request(
    provider="replay", model="old", messages=(Message(role="user", content="What is 6 times 7?"),)
)


def model(**options: Json) -> Model:
    return Model(
        name="old", provider="replay", model="old", options={"file": "answers.jsonl", **options}
    )


def write(root: Path, *records: Any) -> None:
    lines = (each if isinstance(each, str) else json.dumps(each) for each in records)
    (root / "answers.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def replayed(records: Recorded, case: str, request: Request = QUESTION) -> Outcome:
    identity = records.identity(case, request)
    return asyncio.run(records.complete(replace(request, identity=identity)))


def refusal(root: Path, **options: Json) -> str:
    with pytest.raises(Refused) as caught:
        Recorded(model(**options), root)
    return caught.value.message


def test_a_case_gets_the_answer_that_was_recorded_for_it(tmp_path: Path) -> None:
    write(tmp_path, {"id": "a", "text": "42"}, {"id": "b", "text": "43"})
    with Recorded(model(), tmp_path) as records:
        assert replayed(records, "b") == Completion(text="43")
        assert replayed(records, "a") == Completion(text="42")


def test_the_answer_may_stand_deep_in_the_record_and_the_id_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, {"meta": {"case": 7}, "old": {"solution": "42", "is_correct": True}})
    with Recorded(model(field="old.solution", id="meta.case"), tmp_path) as records:
        assert replayed(records, "7") == Completion(text="42")


def test_a_missing_record_is_a_failure_and_never_a_call(tmp_path: Path) -> None:
    write(tmp_path, {"id": "a", "text": "42"}, {"id": "empty", "text": None}, {"id": "none"})
    with Recorded(model(), tmp_path) as records:
        for case in ("b", "empty", "none"):
            assert records.identity(case, QUESTION) is None
            failure = failed(replayed(records, case))
            assert failure.kind is FailureKind.NO_RECORD
            assert failure.retryable is False


def test_an_identity_that_names_no_record_is_a_failure(tmp_path: Path) -> None:
    write(tmp_path, {"id": "a", "text": "42"})
    with Recorded(model(), tmp_path) as records:
        failure = asyncio.run(records.complete(replace(QUESTION, identity="of another file")))
    assert isinstance(failure, Failure)
    assert failure.message == "answers.jsonl holds no answer for this case"


def test_a_record_is_found_by_the_rendered_messages(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "What is 6 times 7?"}]
    other = [{"role": "user", "content": "What is 6 times 8?"}]
    write(tmp_path, {"messages": other, "text": "48"}, {"messages": asked, "text": "42"})
    with Recorded(model(by="request"), tmp_path) as records:
        assert replayed(records, "whatever the case is called") == Completion(text="42")


def test_all_that_was_recorded_of_an_answer_comes_back_but_its_latency(tmp_path: Path) -> None:
    record = {
        "id": "a",
        "answer": {
            "text": "",
            "finish_reason": "tool_calls",
            "tool_calls": [
                {"name": "add", "arguments": {"a": 1}},
                {"type": "function", "function": {"name": "sub", "arguments": '{"b": 2}'}},
                {"name": "broken", "arguments": "{b: 2"},
            ],
            "contexts": ["a passage"],
            "ids": ["p1", 2],
            "usage": {"prompt_tokens": 12, "completion_tokens": 3},
            "cost": 0.5,
            "served_model": "old-2021",
            "latency": 3.5,
        },
    }
    write(tmp_path, record)
    with Recorded(model(field="answer.text"), tmp_path) as records:
        assert replayed(records, "a") == Completion(
            text="",
            tool_calls=(
                ToolCall(name="add", arguments={"a": 1}),
                ToolCall(name="sub", arguments={"b": 2}),
                ToolCall(name="broken", arguments="{b: 2"),
            ),
            finish_reason="tool_calls",
            contexts=("a passage",),
            ids=("p1", "2"),
            usage=Usage(input=12, output=3),
            cost=0.5,
            served_model="old-2021",
        )


def test_moving_lines_and_editing_other_answers_changes_no_identity(tmp_path: Path) -> None:
    write(tmp_path, {"id": "a", "new": "x", "old": "42"}, {"id": "b", "new": "y", "old": "43"})
    with Recorded(model(field="old"), tmp_path) as records:
        before = [records.identity(case, QUESTION) for case in "ab"]
    write(tmp_path, {"id": "b", "new": "z", "old": "43"}, {"old": "42", "id": "a"})
    with Recorded(model(field="old"), tmp_path) as records:
        assert [records.identity(case, QUESTION) for case in "ab"] == before


def test_another_answer_has_another_identity(tmp_path: Path) -> None:
    write(tmp_path, {"id": "a", "new": "41", "old": "42"})
    with (
        Recorded(model(field="old"), tmp_path) as old,
        Recorded(model(field="new"), tmp_path) as new,
    ):
        assert old.identity("a", QUESTION) != new.identity("a", QUESTION)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": "b", "text": "4', "answers.jsonl:2: not JSON"),
        ('["b", "42"]', "answers.jsonl:2: not a JSON object"),
        ('{"text": "42"}', "answers.jsonl:2: no id that finds this record"),
        ('{"id": "a", "text": "43"}', "answers.jsonl:2: a second record for the case of line 1"),
        ('{"id": "b", "text": 42}', "answers.jsonl:2: text is not a text"),
        ('{"id": "b", "text": "", "cost": NaN}', "answers.jsonl:2: "),
        ('{"id": "b", "text": "", "cost": -1}', "answers.jsonl:2: cost is not an amount"),
        ('{"id": "b", "text": "", "cost": true}', "answers.jsonl:2: cost is not an amount"),
        ('{"id": "b", "text": "", "usage": {"input": 1}}', "answers.jsonl:2: usage has no counts"),
        ('{"id": "b", "text": "", "contexts": "p"}', "answers.jsonl:2: contexts is not a list"),
        ('{"id": "b", "text": "", "ids": [1.5]}', "answers.jsonl:2: ids is not a list of texts"),
        ('{"id": "b", "text": "", "finish_reason": 1}', "answers.jsonl:2: finish_reason is not"),
        ('{"id": "b", "text": "", "tool_calls": [1]}', "answers.jsonl:2: a tool call has no name"),
    ],
)
def test_a_doubtful_line_is_refused_with_its_place(
    tmp_path: Path, line: str, complaint: str
) -> None:
    write(tmp_path, {"id": "a", "text": "42"}, line)
    assert refusal(tmp_path).startswith(complaint)


@pytest.mark.parametrize("file", ["../answers.jsonl", "/etc/passwd", "out/answers.jsonl"])
def test_records_outside_the_project_are_refused(tmp_path: Path, file: str) -> None:
    write(tmp_path, {"id": "a", "text": "42"})
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "out").symlink_to(tmp_path)
    assert refusal(tmp_path / "project", file=file) == (
        f"the records {file!r} are outside the project"
    )


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "there are no records at 'answers.jsonl'"


def test_an_unknown_way_to_find_records_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    assert refusal(tmp_path, by="luck") == "model 'old': by is 'luck', not 'case' or 'request'"


def test_byte_order_marks_crlf_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    text = '\ufeff{"id": "ä", "text": "zweiundvierzig ✓"}\r\n\r\n{"id": "b", "text": "43"}'
    (tmp_path / "answers.jsonl").write_bytes(text.encode("utf-8"))
    with Recorded(model(), tmp_path) as records:
        assert replayed(records, "ä") == Completion(text="zweiundvierzig ✓")
        assert replayed(records, "b") == Completion(text="43")


def test_half_a_character_in_an_answer_is_shown_as_such(tmp_path: Path) -> None:
    write(tmp_path, r'{"id": "a", "text": "half \ud83d of a smile, whole \ud83d\ude00"}')
    with Recorded(model(), tmp_path) as records:
        assert replayed(records, "a") == Completion(text="half \ufffd of a smile, whole 😀")


def test_a_file_that_changes_under_the_run_gives_no_wrong_answer(tmp_path: Path) -> None:
    write(tmp_path, {"id": "a", "text": "42"})
    with Recorded(model(), tmp_path) as records:
        with (tmp_path / "answers.jsonl").open("r+", encoding="utf-8") as file:
            file.write('{"id": "a", "text": "41"}')
        failure = replayed(records, "a")
    assert isinstance(failure, Failure)
    assert failure.message == "answers.jsonl changed while it was being read"


def test_a_whole_answer_is_refused_where_its_file_has_changed(tmp_path: Path) -> None:
    write(tmp_path, {"id": "a", "text": "42", "cost": 0.5}, {"id": "b", "text": None})
    with Recorded(model(), tmp_path, lambda answer: answer) as records:
        assert records.find("b", QUESTION) is None
        record = records.find("a", QUESTION)
        assert record is not None
        whole = records.completion(record.place)
        assert whole == Completion(text="42", cost=0.5)
        assert records.briefs([record.place]) == [whole.brief]
    with Recorded(model(), tmp_path, lambda answer: answer) as records:
        write(tmp_path, {"id": "a", "text": "41", "cost": 0.5})
        with pytest.raises(Refused, match="changed while it was being read"):
            records.completion(record.place)


def test_the_provider_is_open_while_its_context_is(tmp_path: Path) -> None:
    write(tmp_path, {"id": "a", "text": "42"})

    async def first() -> Outcome:
        async with open_replay(model(), PluginContext(root=tmp_path, environ={})) as records:
            identity = records.identity("a", QUESTION)
            return await records.complete(replace(QUESTION, identity=identity))

    assert asyncio.run(first()) == Completion(text="42")


def test_memory_does_not_grow_with_the_answers(tmp_path: Path) -> None:
    """40 MB of answers stay in their file."""
    with (tmp_path / "answers.jsonl").open("w", encoding="utf-8") as file:
        for number in range(4000):
            file.write(json.dumps({"id": f"case-{number}", "text": "x" * 10_000}) + "\n")
    tracemalloc.start()
    try:
        with Recorded(model(), tmp_path) as records:
            assert replayed(records, "case-3999") == Completion(text="x" * 10_000)
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@given(st.binary())
def test_no_bytes_break_the_reader(line: bytes) -> None:
    try:
        record = parse_record(line)
    except Malformed:
        return
    assert isinstance(record, dict)
