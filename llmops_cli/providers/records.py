"""What one recorded answer says, whichever system wrote it down.

Beside the text, in the same object, a record may hold what else is known of the answer:
`finish_reason`, `tool_calls`, `contexts`, `ids`, `usage`, `cost`, `served_model`. Anything else in
it is somebody else's business and in no key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from llmops_cli.core.digest import Json, NotCanonical, digest
from llmops_cli.core.result import Completion, ToolCall, Usage

_BESIDE = ("finish_reason", "tool_calls", "contexts", "ids", "usage", "cost", "served_model")

_COUNTS = (
    ("input", "output"),
    ("prompt_tokens", "completion_tokens"),
    ("input_tokens", "output_tokens"),
)
"""Our words for the two counts of a usage, OpenAI's and Anthropic's."""


class Malformed(ValueError):
    """A record that cannot be taken at its word; the message says what is wrong with it."""


def parsed(line: bytes) -> Mapping[str, Json]:
    """The record on one line of a file. Raises `Malformed` for anything but a JSON object."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise Malformed("not a JSON object")
    return record


def at_path(record: Json, path: str) -> Json:
    """What stands at a dotted `path` of `record`; None where there is nothing."""
    found = record
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One recorded answer: its text and what is recorded beside it."""

    said: Mapping[str, Json]
    """`text`, and those of `_BESIDE` that the record has."""
    identity: str
    """The digest of all that is said."""

    @classmethod
    def in_record(cls, record: Mapping[str, Json], field: str) -> Answer | None:
        """The answer whose text stands at the dotted path `field`; None where there is no text.

        Raises `Malformed` where the text is not one, or what stands beside it makes no sense.
        """
        *holders, _ = field.split(".")
        text = at_path(record, field)
        if text is None:
            return None
        if not isinstance(text, str):
            raise Malformed(f"{field} is not a text")
        holder = at_path(record, ".".join(holders)) if holders else record
        assert isinstance(holder, Mapping)
        beside = {name: holder[name] for name in _BESIDE if holder.get(name) is not None}
        said: dict[str, Json] = {"text": carried(text), **beside}
        try:
            answer = cls(said=said, identity=digest("llmops/record/v1", said))
        except NotCanonical as error:
            raise Malformed(str(error)) from error
        if beside:
            answer.completion()
        return answer

    def completion(self) -> Completion:
        """The answer as a call would have given it. Raises `Malformed`."""
        text = self.said["text"]
        assert isinstance(text, str)
        return Completion(
            text=text,
            tool_calls=tuple(_tool_call(each) for each in self._list("tool_calls")),
            finish_reason=self._word("finish_reason") or "stop",
            contexts=self._texts("contexts"),
            ids=self._texts("ids"),
            usage=_usage(self.said.get("usage")),
            cost=_cost(self.said.get("cost")),
            served_model=self._word("served_model"),
        )

    def _word(self, name: str) -> str | None:
        value = self.said.get(name)
        if value is None or isinstance(value, str):
            return value
        raise Malformed(f"{name} is not a text")

    def _list(self, name: str) -> list[Json]:
        value = self.said.get(name, [])
        if isinstance(value, list):
            return value
        raise Malformed(f"{name} is not a list")

    def _texts(self, name: str) -> tuple[str, ...] | None:
        if name not in self.said:
            return None
        values = self._list(name)
        texts = tuple(each for each in values if isinstance(each, str))
        if len(texts) < len(values):
            raise Malformed(f"{name} is not a list of texts")
        return texts


def carried(text: str) -> str:
    """`text` with lone surrogates, which no digest and no file can carry, shown as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _usage(recorded: Json) -> Usage | None:
    if recorded is None:
        return None
    if isinstance(recorded, Mapping):
        for names in _COUNTS:
            read, written = (recorded.get(name) for name in names)
            if isinstance(read, int) and isinstance(written, int) and read >= 0 <= written:
                return Usage(input=read, output=written)
    raise Malformed("usage has no counts of input and output tokens")


def _cost(recorded: Json) -> float | None:
    if recorded is None:
        return None
    if isinstance(recorded, (int, float)) and not isinstance(recorded, bool):
        cost = float(recorded)
        if math.isfinite(cost) and cost >= 0:
            return cost
    raise Malformed("cost is not an amount of US dollars")


def _tool_call(recorded: Json) -> ToolCall:
    """Our shape, or OpenAI's: `{"function": {"name": …, "arguments": "…"}}`."""
    call = recorded.get("function", recorded) if isinstance(recorded, Mapping) else None
    name = call.get("name") if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(name, str):
        raise Malformed("a tool call has no name")
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        with suppress(ValueError):
            arguments = json.loads(arguments)
    return ToolCall(name=name, arguments=arguments)
