"""What an application passes to a prompt, checked as `eval` checks a case: all problems at once.

Only plain data reaches a template (docs/security.md): text, numbers, booleans, null, lists and
mappings. Subclasses of these (an enum of texts, a `defaultdict`, a tuple) become plain first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused, suggestion
from llmops_cli.core.prompt import Message, Role
from llmops_cli.files.inputs import Schemas, is_required, mismatch


class WrongInputs(Refused, TypeError):
    """The inputs are not those that the prompt declares."""


def checked(address: str, given: Mapping[str, object], schemas: Schemas) -> dict[str, Json]:
    """`given` as plain data that fits `schemas`. Raises `WrongInputs` with every problem."""
    problems = [*_misnamed(given, schemas)]
    values: dict[str, Json] = {}
    for name in sorted(set(given) & set(schemas)):
        try:
            values[name] = _plain(given[name])
        except TypeError as error:
            problems.append(f"the input '{name}' {error}")
            continue
        if (why := mismatch(values[name], schemas[name])) is not None:
            problems.append(f"the input '{name}' {why}")
    if problems:
        raise WrongInputs(f"{address}: {'; '.join(problems)}")
    return values


def turns(address: str, given: Sequence[Mapping[str, object]]) -> tuple[Message, ...]:
    """Earlier turns of a conversation. Raises `WrongInputs`."""
    return tuple(_turn(address, at, dict(each)) for at, each in enumerate(given, start=1))


def _misnamed(given: Mapping[str, object], schemas: Schemas) -> Iterator[str]:
    for name in sorted(set(given) - set(schemas)):
        hint = suggestion(name, sorted(schemas)) or "it takes none"
        yield f"it has no input '{name}' ({hint})"
    for name in sorted(set(schemas) - set(given)):
        if is_required(schemas[name]):
            yield f"the input '{name}' is missing"


def _turn(address: str, at: int, turn: dict[str, object]) -> Message:
    role, content = turn.get("role"), turn.get("content")
    for known in get_args(Role):
        if role == known and turn.keys() == {"role", "content"}:
            if isinstance(content, str):
                return Message(role=known, content=content)
            if isinstance(content, (list, tuple)) and all(isinstance(p, Mapping) for p in content):
                return Message(role=known, content=tuple(dict(part) for part in content))
    raise WrongInputs(
        f"{address}: the earlier turn {at} must be a role and a content, and nothing else",
        hint="what has more (tool calls, say) goes behind: [*rendered.messages, …]",
    )


def _plain(value: object) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str.__str__(key): _plain(each) for key, each in value.items()}
    raise TypeError(f"holds a {type(value).__name__}, which is no plain data")
