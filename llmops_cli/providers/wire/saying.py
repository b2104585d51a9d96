"""What a server says went wrong, in any of the shapes in which servers say it.

OpenAI's `{"error": {…}}` is one of them. Others nest nothing (`{"object": "error", …}`), wrap the
object in a list, put a plain text under `error`, or answer as their web framework does
(`{"detail": …}`). docs/servers.md lists who does what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from llmops_cli.core.digest import Json
from llmops_cli.providers.wire.trouble import NAMED, SHOWN, STATUSES
from llmops_cli.providers.wire.waits import parse_wait

FILTERED = frozenset({"content_filter", "content_policy_violation"})
"""Codes of a prompt that a filter stopped before the model saw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """An error body, read."""

    words: str = ""
    """What the server says, in one line; "" where it says nothing that can be read."""
    status: int | None = None
    """The status that its code or type goes with."""
    wait: float | None = None
    """Seconds after which it wants to be asked again."""
    filtered: bool = False
    """A content filter stopped the prompt."""


def complaint(parsed: Json) -> Complaint | None:
    """What `parsed` complains of; None where it is no error, whatever its HTTP status.

    An `error` without a word in it is none: some gateways put an empty one beside good answers.
    """
    if isinstance(parsed, Sequence) and not isinstance(parsed, str):
        return complaint(parsed[0]) if parsed and isinstance(parsed[0], Mapping) else None
    if not isinstance(parsed, Mapping):
        return None
    error = parsed.get("error")
    if isinstance(error, Mapping):
        return _read(error) if any(error.get(key) for key in _TELLING) else None
    if isinstance(error, str) and error:
        return _read({**parsed, "message": error, "type": parsed.get("error_type")})
    if parsed.get("object") == "error" or parsed.get("status") == "failure":
        return _read(parsed)
    return None


def refusal(parsed: Json) -> Complaint:
    """What the body of an error status says: as `complaint`, and in the words of frameworks."""
    found = complaint(parsed)
    if found is None and isinstance(parsed, Mapping):
        found = _read({**parsed, "message": parsed.get("detail") or parsed.get("message")})
    return found or Complaint()


_TELLING = ("message", "code", "type", "status")


def _read(error: Mapping[str, Json]) -> Complaint:
    names = (error.get("code"), error.get("type"))
    return Complaint(
        words=_words(error.get("message"))[:SHOWN],
        status=next(filter(None, map(_status, names)), None),
        wait=_wait(error.get("details")),
        filtered=_filtered(error, names),
    )


def _filtered(error: Mapping[str, Json], names: Sequence[Json]) -> bool:
    """Azure says so by its code, LiteLLM by the name of its exception, OpenRouter by reasons."""
    if any(isinstance(name, str) and name in FILTERED for name in names):
        return True
    metadata = error.get("metadata")
    flagged = isinstance(metadata, Mapping) and "reasons" in metadata
    return flagged or "ContentPolicyViolationError" in _words(error.get("message"))


def _words(said: Json) -> str:
    """A text in one line; of FastAPI's list of problems, what is wrong with which field."""
    if isinstance(said, str):
        return " ".join(said.split())
    if isinstance(said, Sequence):
        return "; ".join(filter(None, map(_problem, said)))
    return ""


def _problem(each: Json) -> str:
    if not isinstance(each, Mapping):
        return _words(each)
    place = each.get("loc")
    where = ".".join(str(part) for part in place) if isinstance(place, list) else ""
    return f"{where}: {each.get('msg')}" if where else str(each.get("msg", ""))


def _status(name: Json) -> int | None:
    """The status that a code or type stands for."""
    if isinstance(name, int):
        return name if name in STATUSES else None
    if isinstance(name, str):
        return NAMED.get(name) or (int(name) if name.isdecimal() and len(name) == 3 else None)
    return None


def _wait(details: Json) -> float | None:
    """The wait in Google's `google.rpc.RetryInfo`, which comes in no header."""
    return next(_delays(details), None)


def _delays(details: Json) -> Iterator[float]:
    for each in details if isinstance(details, list) else ():
        delay = each.get("retryDelay") if isinstance(each, Mapping) else None
        if isinstance(delay, str) and (wait := parse_wait(delay, now=datetime.now(UTC))):
            yield wait
