"""Read spans of model calls from trace files, whichever tool wrote them.

| dialect | files | names |
|---|---|---|
| OTLP JSON | one `ExportTraceServiceRequest` a line, or a whole file (the collector) | OTel GenAI |
| Phoenix | the same in snake_case, or a list of spans under `data` | OpenInference |
| OTLP protobuf | one message a file (`.pb`, `.binpb`) | either |
| Langfuse | exported observations, one a line or a list | its own |

Every dialect becomes attributes first; one table says which of them a call is read from. A line
that cannot be read is counted, never guessed at.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from llmops_cli.core.watch import SpanNames

NAN = math.nan
Attributes: TypeAlias = dict[str, Any]


class Call(NamedTuple):
    """One call of a model in production. NaN: the span doesn't say."""

    trace: str
    span: str
    time: float
    """Start, in seconds since 1970 (UTC)."""
    seconds: float = NAN
    first_token: float = NAN
    """Seconds until the first token."""
    cost: float = NAN
    """US dollars, where the span has them."""
    input_tokens: float = NAN
    cached_tokens: float = NAN
    """Input tokens read from the provider's cache; part of `input_tokens`."""
    output_tokens: float = NAN
    error: str = ""
    """What kind of error; empty: none."""
    satisfied: float = NAN
    """A user's feedback, from 0 (bad) to 1 (good)."""
    cache_hit: float = NAN
    """1 where an application's own cache answered, 0 where it didn't."""
    provider: str = ""
    model: str = ""
    """The model that answered."""
    version: str = ""
    """The prompt's version, as `load_prompt(...).attributes()` names it."""
    finish: str = ""
    route: str = ""
    inputs: str = ""
    """The prompt's inputs, as JSON."""
    input: str = ""
    """The messages that were sent, as JSON; empty: the trace doesn't hold them."""
    output: str = ""


@dataclass(slots=True, kw_only=True)
class Counts:
    """What a reader met."""

    lines: int = 0
    unreadable: int = 0
    spans: int = 0
    """Of any kind; only those of calls and with feedback are returned."""
    reasons: list[str] = field(default_factory=list)
    """Of the first unreadable lines: `traces/a.jsonl:12: why`."""


# The attributes that a value is read from, in this order: OTel GenAI today, its older names,
# OpenInference.
INPUT_TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
OUTPUT_TOKENS = (
    "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion",
)  # fmt: skip
CACHED_TOKENS = (
    "gen_ai.usage.cache_read.input_tokens",
    "llm.token_count.prompt_details.cache_read",
)
MODEL = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
COST = ("llm.cost.total",)
INPUT = ("gen_ai.input.messages", "input.value")
OUTPUT = ("gen_ai.output.messages", "output.value")
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
FINISH = "gen_ai.response.finish_reasons"
FIRST_CHUNK_EVENT = "First Token Stream Event"
SPAN_KIND = "openinference.span.kind"
SNAKE_CASE = {
    "resourceSpans": "resource_spans", "scopeSpans": "scope_spans", "traceId": "trace_id",
    "spanId": "span_id", "startTimeUnixNano": "start_time_unix_nano",
    "endTimeUnixNano": "end_time_unix_nano", "timeUnixNano": "time_unix_nano",
}  # fmt: skip
GOOD = frozenset({"up", "good", "positive", "thumbs-up", "like", "true"})
BAD = frozenset({"down", "bad", "negative", "thumbs-down", "dislike", "false"})
CALLS = frozenset({"chat", "text_completion", "generate_content", "LLM"})
"""Values of `gen_ai.operation.name` and `openinference.span.kind` that are calls of a model."""


def read_calls(file: Path, names: SpanNames, counts: Counts) -> Iterator[Call]:
    """Yield the calls in a file of traces; what cannot be read is added to `counts`.

    Raises `OSError` where the file cannot be read at all.
    """
    for line, content in _records(file):
        counts.lines += 1
        try:
            yield from _parse(file, content, names, counts)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            counts.unreadable += 1
            if len(counts.reasons) < 5:
                counts.reasons.append(f"{file}:{line}: {error}")


def _records(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the records of a file with their line numbers: lines of JSON, or a whole document."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        if _is_protobuf(file):
            yield 1, stream.read()
            return
        for number, line in enumerate(stream, start=1):
            if number == 1 and line.strip() in {b"{", b"["}:  # one document over many lines
                yield 1, line + stream.read()
                return
            if line.strip():
                yield number, line


def _is_protobuf(file: Path) -> bool:
    return not {".pb", ".binpb"}.isdisjoint(file.suffixes)


def _parse(file: Path, content: bytes, names: SpanNames, counts: Counts) -> Iterator[Call]:
    document: Any
    if _is_protobuf(file):
        from llmops_cli.watch.protobuf import otlp_json  # noqa: PLC0415 - an extra, 0.2 s

        document = otlp_json(content)
    else:
        document = msgspec.json.decode(content)
    if isinstance(document, dict) and (resources := _either(document, "resourceSpans")):
        scopes = (scope for resource in resources for scope in _either(resource, "scopeSpans"))
        spans = [span for scope in scopes for span in scope["spans"]]
    else:
        spans = document if isinstance(document, list) else document.get("data", [document])
    for span in spans:
        counts.spans += 1
        if "attributes" not in span:
            if span.get("type", "GENERATION") == "GENERATION":
                yield _langfuse(span, names)
            continue
        attributes = _attributes(span)
        operation = attributes.get("gen_ai.operation.name") or attributes.get(SPAN_KIND)
        if operation in CALLS or names.feedback in attributes:
            yield _call(span, attributes, names)


def _either(record: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON of strangers
    """Return the value of a key that one tool writes as `spanId` and another as `span_id`."""
    value = record.get(name)
    return record.get(SNAKE_CASE[name], ()) if value is None else value


def _attributes(record: Mapping[str, Any]) -> Attributes:
    pairs = record.get("attributes") or ()
    if isinstance(pairs, dict):  # some exporters write the mapping itself
        return dict(pairs)
    return {pair["key"]: _plain(pair.get("value") or {}) for pair in pairs}


def _plain(value: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return the plain value of OTLP's `{"stringValue": ...}`."""
    for kind, content in value.items():
        if content is not None:
            convert = CONVERT.get(kind)
            return content if convert is None else convert(content)
    return None


CONVERT: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("intValue", "int_value"), int),
    **dict.fromkeys(("doubleValue", "double_value"), float),
    **dict.fromkeys(
        ("arrayValue", "array_value"),
        lambda array: [_plain(item) for item in array.get("values", ())],
    ),
    **dict.fromkeys(
        ("kvlistValue", "kvlist_value"),
        lambda pairs: {pair["key"]: _plain(pair["value"]) for pair in pairs.get("values", ())},
    ),
}


def _call(span: Mapping[str, Any], attributes: Attributes, names: SpanNames) -> Call:
    start = int(_either(span, "startTimeUnixNano") or 0)
    end = int(_either(span, "endTimeUnixNano") or 0)
    if not start:
        raise ValueError("a span without a start time")
    first_token = _number(attributes.get(FIRST_CHUNK))
    messages: dict[str, list[Any]] = {"input": [], "output": []}
    for event in span.get("events") or ():
        name = str(event.get("name"))
        if name == FIRST_CHUNK_EVENT:
            first_token = (int(_either(event, "timeUnixNano")) - start) / 1e9
        elif name.startswith("gen_ai."):  # OTel until 1.36 has the messages in events
            side = "output" if name == "gen_ai.choice" else "input"
            messages[side].append({"role": name.split(".")[1], **_attributes(event)})
    return _of_attributes(
        attributes,
        names,
        trace=str(_either(span, "traceId")),
        span=str(_either(span, "spanId")),
        time=start / 1e9,
        seconds=(end - start) / 1e9 if end else NAN,
        first_token=first_token,
        error=_error(span, attributes),
        input=_text(_first(attributes, INPUT) or messages["input"]),
        output=_text(_first(attributes, OUTPUT) or messages["output"]),
    )


def _of_attributes(attributes: Attributes, names: SpanNames, **known: Any) -> Call:  # noqa: ANN401
    finish = attributes.get(FINISH)
    return Call(
        cost=_number(attributes.get(names.cost, _first(attributes, COST))),
        input_tokens=_number(_first(attributes, INPUT_TOKENS)),
        cached_tokens=_number(_first(attributes, CACHED_TOKENS)),
        output_tokens=_number(_first(attributes, OUTPUT_TOKENS)),
        satisfied=_feedback(attributes.get(names.feedback)),
        cache_hit=_feedback(attributes.get(names.cache_hit)),
        provider=str(_first(attributes, PROVIDER) or ""),
        model=str(_first(attributes, MODEL) or ""),
        version=str(attributes.get(names.version) or ""),
        finish=str(finish[0] if isinstance(finish, list) and finish else finish or ""),
        route=str(attributes.get(names.route) or ""),
        inputs=str(attributes.get("llmops.inputs") or ""),
        **known,
    )


def _first(attributes: Attributes, keys: Iterable[str]) -> object:
    return next((attributes[key] for key in keys if key in attributes), None)


def _number(value: object) -> float:
    """Return a finite number of at least 0, else NaN."""
    try:
        number = float(str(value))
    except ValueError:
        return NAN
    return number if 0 <= number < math.inf else NAN


def _feedback(value: object) -> float:
    """Return feedback from 0 to 1; other scales are scaled by who writes them."""
    word = str(value).strip().lower()
    if word in GOOD or word in BAD:
        return float(word in GOOD)
    number = _number(value)
    return number if number <= 1 else NAN


def _error(span: Mapping[str, Any], attributes: Attributes) -> str:
    code = (span.get("status") or {}).get("code")
    failed = code in {2, "STATUS_CODE_ERROR", "ERROR"}
    return str(attributes.get("error.type") or ("error" if failed else ""))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value) if value else ""


def _langfuse(observation: Mapping[str, Any], names: SpanNames) -> Call:
    """Return a call from an exported observation of Langfuse."""

    def time(name: str) -> float:
        text = observation.get(name)
        return datetime.fromisoformat(str(text)).timestamp() if text else NAN

    start = time("startTime")
    if math.isnan(start):
        raise ValueError("not a span: neither OTLP nor an observation of Langfuse")
    usage = observation.get("usageDetails") or observation.get("usage") or {}
    metadata = observation.get("metadata")
    attributes = dict(metadata) if isinstance(metadata, dict) else {}
    prompt = observation.get("promptName"), observation.get("promptVersion")
    if all(prompt):
        attributes.setdefault(names.version, f"{prompt[0]}@v{prompt[1]}")
    attributes |= {
        INPUT_TOKENS[0]: usage.get("input"),
        OUTPUT_TOKENS[0]: usage.get("output"),
        CACHED_TOKENS[0]: usage.get("input_cached_tokens", usage.get("cache_read_input_tokens")),
        MODEL[0]: observation.get("model"),
        COST[0]: (observation.get("costDetails") or {}).get("total"),
    }
    error = observation.get("level") == "ERROR"
    return _of_attributes(
        attributes,
        names,
        trace=str(observation.get("traceId", "")),
        span=str(observation["id"]),
        time=start,
        seconds=time("endTime") - start,
        first_token=time("completionStartTime") - start,
        error=str(attributes.get("error.type") or "error") if error else "",
        input=_text(observation.get("input")),
        output=_text(observation.get("output")),
    )
