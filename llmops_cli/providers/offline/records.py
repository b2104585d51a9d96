"""What one recorded answer says, whichever system wrote it down.

Beside the text, in the same object, a record may hold what else is known of the answer (`said`).
Anything else in it is somebody else's business and in no key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from llmops_cli.core.digest import Json, NotCanonical, digest
from llmops_cli.core.result import Completion
from llmops_cli.providers.application.said import BESIDE, Malformed, completed


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
    """`text`, and those of `BESIDE` that the record has."""

    @property
    def identity(self) -> str:
        """The digest of all that is said. Raises `Malformed` for what has none."""
        try:
            return digest("llmops/record/v1", self.said)
        except NotCanonical as error:
            raise Malformed(str(error)) from error

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
        beside = {name: holder[name] for name in BESIDE if holder.get(name) is not None}
        said: dict[str, Json] = {"text": carried(text), **beside}
        answer = cls(said=said)
        if beside:
            answer.completion()
        return answer

    def completion(self) -> Completion:
        """The answer as a call would have given it. Raises `Malformed`."""
        return completed(self.said)


def carried(text: str) -> str:
    """`text` with lone surrogates, which no digest and no file can carry, shown as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
