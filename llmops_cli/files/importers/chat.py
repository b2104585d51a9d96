"""Reads a prompt's text as turns: promptfoo keeps a chat as JSON or YAML inside one text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, get_args

from pydantic import TypeAdapter, ValidationError

from llmops_cli.core.errors import InvalidFiles
from llmops_cli.core.prompt import Role
from llmops_cli.files.importers.notes import NotCarried
from llmops_cli.files.importers.nunjucks import converted
from llmops_cli.files.importers.source import read_document
from llmops_cli.files.schema import Parts

ROLES = frozenset(get_args(Role))
PARTS: TypeAdapter[Any] = TypeAdapter(Parts)
LOOKS_LIKE_JSON = re.compile(r"\s*[\[{]\s*[\[{\"%]")
DUMPED = re.compile(r"(?<![\"\w])\{\{-?\s*([\w.]+)\s*\|\s*(?:dump|tojson)(?:\(\))?\s*-?\}\}")
"""`{{ x | dump }}` outside a JSON text: the template writes the quotes itself."""
MARK = re.compile("\ufdd0([\\w.]+)\ufdd1")

Turn: TypeAlias = dict[str, Any]


def turns_of(text: str) -> list[Turn]:
    """The messages of a prompt, converted. Raises `NotCarried`."""
    if re.match(r"\s*-\s*role\s*:", text):
        return _turns(_yaml(text))
    if LOOKS_LIKE_JSON.match(text) and '"role"' in text.replace("'", '"'):
        return _turns(_json(text))
    return [{"role": "user", "content": converted(text)}]


def turns_from(data: Any) -> list[Turn]:
    """The messages in parsed JSON or YAML. Raises `NotCarried`."""
    return _turns(data)


def _json(text: str) -> Any:
    """The JSON of a chat, where a `{{ x | dump }}` stands for one whole text."""
    marked = DUMPED.sub('"\ufdd0\\1\ufdd1"', text)
    for source, restore in ((marked, True), (text, False)):
        try:
            data = json.loads(source)
        except ValueError:
            continue
        return _restored(data) if restore else data
    raise NotCarried(
        "its turns are built by template code, or it is not JSON",
        "write the turns under `messages`; earlier turns go to a case's `messages`",
    )


def _restored(data: Any) -> Any:
    if isinstance(data, str):
        return MARK.sub(r"{{ \1 }}", data)
    if isinstance(data, list):
        return [_restored(each) for each in data]
    if isinstance(data, dict):
        return {name: _restored(each) for name, each in data.items()}
    return data


def _yaml(text: str) -> Any:
    try:
        return read_document(text.encode(), "prompt").data
    except InvalidFiles as error:
        out = "write the turns under `messages`"
        raise NotCarried(error.problems[0].message, out) from None


def _turns(data: Any) -> list[Turn]:
    if isinstance(data, Mapping) and isinstance(data.get("messages"), list):
        data = data["messages"]
    if not isinstance(data, Sequence) or isinstance(data, str) or not data:
        raise NotCarried("it is no list of turns", "write `messages` with role and content")
    return [_turn(each) for each in data]


def _turn(written: Any) -> Turn:
    if not isinstance(written, Mapping) or written.get("role") not in ROLES:
        raise NotCarried("a turn without a known role", "write `messages` with role and content")
    content = written.get("content")
    if set(written) - {"role", "content"}:
        extra = ", ".join(sorted(set(written) - {"role", "content"}))
        raise NotCarried(f"a turn has more than role and content: {extra}", "write its text")
    if isinstance(content, str):
        return {"role": written["role"], "content": converted(content)}
    try:
        PARTS.validate_python(content)
    except ValidationError:
        raise NotCarried("a turn's content is no text and no image", "write its text") from None
    return {"role": written["role"], "content": _converted(content)}


def _converted(value: Any) -> Any:
    if isinstance(value, str):
        return converted(value)
    if isinstance(value, list):
        return [_converted(each) for each in value]
    if isinstance(value, dict):
        return {name: _converted(each) for name, each in value.items()}
    return value
