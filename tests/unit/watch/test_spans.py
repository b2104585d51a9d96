"""What a call is read from, in each dialect."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.watch import SpanNames
from llmops_cli.watch.spans import Call, Counts, read_calls
from tests.traces import START, attribute, request, span


def read(file: Path, names: SpanNames | None = None) -> tuple[list[Call], Counts]:
    counts = Counts()
    return list(read_calls(file, names or SpanNames(), counts)), counts


def written(tmp_path: Path, *documents: Any, name: str = "a.jsonl") -> Path:
    file = tmp_path / name
    file.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return file


def test_todays_otel_names_are_read(tmp_path: Path) -> None:
    one = span(
        1,
        START,
        2.5,
        gen__ai_usage_input__tokens=120,
        gen__ai_usage_output__tokens=30,
        gen__ai_usage_cache__read_input__tokens=100,
        gen__ai_response_time__to__first__chunk=0.3,
        gen__ai_response_finish__reasons=["stop"],
        llmops_version="support@v3",
        user_feedback="up",
        http_route="/chat",
        gen__ai_input_messages='[{"role": "user"}]',
    )
    (call,), counts = read(written(tmp_path, request([one])))
    assert call == Call(
        trace=f"{1:032x}", span=f"{1:016x}", time=START, seconds=2.5, first_token=0.3,
        cost=call.cost, input_tokens=120, cached_tokens=100, output_tokens=30, satisfied=1.0,
        cache_hit=call.cache_hit, provider="openai", model="tiny", version="support@v3",
        finish="stop", route="/chat", input='[{"role": "user"}]',
    )  # fmt: skip
    assert math.isnan(call.cost)
    assert math.isnan(call.cache_hit)
    assert (counts.lines, counts.spans, counts.unreadable) == (1, 1, 0)


def test_messages_in_events_are_read_as_otel_had_them_until_1_36(tmp_path: Path) -> None:
    old = span(1, START, gen__ai_usage_prompt__tokens=12, gen__ai_usage_completion__tokens=3)
    old["events"] = [
        {"name": "gen_ai.user.message", "attributes": [attribute("content", "hello")]},
        {"name": "gen_ai.choice", "attributes": [attribute("message", "hi")]},
    ]
    (call,), _ = read(written(tmp_path, request([old])))
    assert (call.input_tokens, call.output_tokens) == (12, 3)
    assert json.loads(call.input) == [{"role": "user", "content": "hello"}]
    assert json.loads(call.output) == [{"role": "choice", "message": "hi"}]


PHOENIX = {
    "data": [
        {
            "trace_id": "t1",
            "span_id": "s1",
            "name": "ChatCompletion",
            "start_time_unix_nano": START * 10**9,
            "end_time_unix_nano": START * 10**9 + 10**9,
            "attributes": [
                {"key": "openinference.span.kind", "value": {"string_value": "LLM"}},
                {"key": "llm.model_name", "value": {"string_value": "tiny"}},
                {"key": "llm.token_count.prompt", "value": {"int_value": 7}},
                {"key": "llm.cost.total", "value": {"double_value": 0.25}},
                {"key": "input.value", "value": {"string_value": "hello"}},
            ],
            "events": [
                {
                    "name": "First Token Stream Event",
                    "time_unix_nano": START * 10**9 + 250_000_000,
                }
            ],
            "status": {"code": "STATUS_CODE_ERROR"},
        }
    ]
}


def test_phoenix_in_snake_case_with_openinferences_names_is_read(tmp_path: Path) -> None:
    (call,), _ = read(written(tmp_path, PHOENIX))
    assert (call.trace, call.model, call.input_tokens, call.cost) == ("t1", "tiny", 7, 0.25)
    assert (call.first_token, call.error, call.input) == (0.25, "error", "hello")


LANGFUSE = {
    "id": "o1",
    "traceId": "t1",
    "type": "GENERATION",
    "startTime": "2025-11-30T11:00:00.000Z",
    "endTime": "2025-11-30T11:00:02.000Z",
    "completionStartTime": "2025-11-30T11:00:00.500Z",
    "model": "tiny",
    "promptName": "support",
    "promptVersion": 3,
    "usageDetails": {"input": 10, "output": 4, "cache_read_input_tokens": 2},
    "costDetails": {"total": 0.5},
    "level": "ERROR",
    "input": [{"role": "user", "content": "hello"}],
    "output": "hi",
}


@pytest.mark.parametrize("shape", ["lines", "list"])
def test_langfuses_observations_are_read(tmp_path: Path, shape: str) -> None:
    observations = [LANGFUSE, {**LANGFUSE, "id": "o2", "type": "SPAN"}]
    documents = observations if shape == "lines" else [observations]
    (call,), counts = read(written(tmp_path, *documents))
    assert (call.time, call.seconds, call.first_token) == (START, 2.0, 0.5)
    assert (call.version, call.cost, call.cached_tokens) == ("support@v3", 0.5, 2)
    assert (call.error, call.output, counts.spans) == ("error", "hi", 2)


def test_a_document_over_many_lines_and_a_compressed_one_are_read(tmp_path: Path) -> None:
    document = request([span(1, START)])
    spread = tmp_path / "a.json"
    spread.write_text(json.dumps(document, indent=1))
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(document).encode()))
    assert read(spread)[0] == read(packed)[0] != []


def test_names_without_a_convention_are_a_teams_own(tmp_path: Path) -> None:
    one = span(1, START, app_thumbs="down", app_release="v9", app_hit=True)
    names = SpanNames(feedback="app.thumbs", version="app.release", cache_hit="app.hit")
    (call,), _ = read(written(tmp_path, request([one])), names)
    assert (call.satisfied, call.version, call.cache_hit) == (0.0, "v9", 1.0)


@pytest.mark.parametrize(
    ("value", "satisfied"),
    [("up", 1.0), ("Bad", 0.0), (0.25, 0.25), (True, 1.0), (4, None), ("meh", None)],
)
def test_feedback_is_a_share_or_a_known_word(
    tmp_path: Path, value: object, satisfied: float | None
) -> None:
    (call,), _ = read(written(tmp_path, request([span(1, START, user_feedback=value)])))
    assert (None if math.isnan(call.satisfied) else call.satisfied) == satisfied


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "17",
        '{"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [{}]}]}]}]}',
        '{"attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]}',
        '{"something": "else"}',
        '{"id": "o1", "startTime": "yesterday"}',
    ],
)
def test_an_unreadable_line_is_counted_with_its_place_and_the_others_are_read(
    tmp_path: Path, line: str
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(f"{json.dumps(request([span(1, START)]))}\n{line}\n")
    calls, counts = read(file)
    assert len(calls) == 1
    assert (counts.lines, counts.unreadable) == (2, 1)
    assert counts.reasons[0].startswith(f"{file}:2: ")


def test_spans_that_are_no_calls_are_counted_and_left_out(tmp_path: Path) -> None:
    other = span(1, START)
    other["attributes"] = [attribute("http.method", "GET")]
    calls, counts = read(written(tmp_path, request([other, span(2, START)])))
    assert [call.span for call in calls] == [f"{2:016x}"]
    assert counts.spans == 2


def test_otlp_protobuf_says_what_otlp_json_says(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.proto")
    from google.protobuf.json_format import ParseDict  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceRequest,
    )

    one = span(1, START, llmops_version="support@v3", gen__ai_usage_input__tokens=5)
    as_json = read(written(tmp_path, request([one])))[0]
    ids = {"traceId": "AAAAAAAAAAAAAAAAAAAAAQ==", "spanId": "AAAAAAAAAAE="}  # 1 in base64
    message = ParseDict(request([{**one, **ids}]), ExportTraceServiceRequest())
    file = tmp_path / "a.pb"
    file.write_bytes(message.SerializeToString())
    assert str(read(file)[0]) == str(as_json)  # NaN is not equal to itself
    file.write_bytes(b"\xff\xff")
    assert read(file)[1].unreadable == 1
