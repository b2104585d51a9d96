"""Reads a prompt's text as turns: promptfoo keeps a chat as JSON or YAML inside one text.

Collects the prompts of a promptfoo configuration, wherever they stand, as lists of turns.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from pydantic import TypeAdapter, ValidationError

from llmops_cli.core.errors import InvalidFiles, Location
from llmops_cli.core.prompt import Role
from llmops_cli.importers.base import NotCarried, Notes
from llmops_cli.importers.nunjucks import converted, names_in
from llmops_cli.importers.source import Nearby, is_file, read_document
from llmops_cli.project.documents import Document, Place
from llmops_cli.project.schema import Parts
from llmops_cli.project.templates import strings

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


DELIMITER = re.compile(r"^[ \t]*---[ \t]*$", re.MULTILINE)
PATH = re.compile(r"[\w./*@ -]+\.(txt|json|jsonl|yaml|yml|md|j2|csv|js|cjs|mjs|ts|py)(:\w+)?")
ELSEWHERE = re.compile(r"(langfuse|portkey|helicone|https?)://|(exec|package):")

Raw: TypeAlias = tuple[str | None, str | list[Turn], Location]
"""A label, the text or its turns, and the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPrompt:
    """A prompt with the line it stands on and every name by which a provider can ask for it."""

    turns: list[Turn]
    label: str | None
    where: Location

    @property
    def names(self) -> frozenset[str]:
        """The inputs that its templates use."""
        texts = (text for turn in self.turns for text in strings(turn["content"]))
        return frozenset().union(*map(names_in, texts))


class PromptCollector:
    """Reads everything under `prompts:`; what cannot be read is noted."""

    def __init__(self, document: Document, nearby: Nearby, notes: Notes) -> None:
        self._document = document
        self._nearby = nearby
        self._notes = notes

    def read(self, written: Any) -> list[FoundPrompt]:
        """The prompts in the order in which they are written."""
        found: list[FoundPrompt] = []
        entries: list[tuple[Place, Any]] = [(("prompts",), written)]
        if isinstance(written, dict):
            pairs = written.items()
            entries = [(("prompts", key), {"id": key, "label": label}) for key, label in pairs]
        elif isinstance(written, list):
            entries = [(("prompts", at), each) for at, each in enumerate(written)]
        for place, entry in entries:
            where = self._document.where(*place)
            try:
                for label, raw, line in self._entry(entry, where):
                    found.append(self._prompt(label, raw, line))
            except NotCarried as error:
                self._notes.take(where, f"the prompt {_shown(entry)}", error)
        return found

    def _prompt(self, label: str | None, raw: str | list[Turn], where: Location) -> FoundPrompt:
        turns = turns_of(raw) if isinstance(raw, str) else raw
        found = FoundPrompt(turns=turns, label=label, where=where)
        found.names  # noqa: B018 - a template that is none is found here, with its line
        return found

    def _entry(self, entry: Any, where: Location) -> Iterator[Raw]:
        label = None
        if isinstance(entry, dict):
            label = entry.get("label")
            label = label if isinstance(label, str) else None
            if entry.get("config"):
                why = "a prompt's own parameters overrule its provider's"
                self._notes.lost(where, "'config' of a prompt", why, "`modelParameters`")
            raw = entry.get("raw", entry.get("content", entry.get("id")))
            if isinstance(raw, list):
                yield label, turns_from(raw), where
                return
            entry = raw
        if not isinstance(entry, str):
            raise NotCarried("it is no text", "write the prompt out")
        if ELSEWHERE.match(entry):
            raise NotCarried("it is kept elsewhere or made by code", "write the prompt out")
        if is_file(entry) or ("\n" not in entry and PATH.fullmatch(entry) and self._there(entry)):
            for path in self._nearby.matching(entry):
                yield from self._file(path, label)
        else:
            yield label, entry, where

    def _there(self, entry: str) -> bool:
        """Whether a bare path names a file; if not, it is the prompt's text."""
        if re.search(r"\.(js|cjs|mjs|ts|py)(:\w+)?$", entry):
            return True
        try:
            return bool([self._nearby.text(path) for path in self._nearby.matching(entry)])
        except NotCarried:
            return False

    def _file(self, path: str, label: str | None) -> Iterator[Raw]:
        where = Location(path=path)
        label = label or path
        text = self._nearby.text(path)
        if path.endswith(".json"):
            yield label, text.strip(), where
        elif path.endswith((".yaml", ".yml")):
            yield label, turns_from(self._nearby.document(path).data), where
        elif path.endswith(".jsonl"):
            for number, line in enumerate(text.splitlines(), start=1):
                if line.strip():
                    yield label, line, Location(path=path, line=number)
        elif path.endswith(".csv"):
            yield from _table(text, path, label)
        elif path.endswith(".txt"):
            first = 1
            for part in DELIMITER.split(text):
                if part.strip():
                    skipped = part[: len(part) - len(part.lstrip())].count("\n")
                    yield label, part.strip(), Location(path=path, line=first + skipped)
                first += part.count("\n")
        else:
            yield label, text.strip(), where


def _table(text: str, path: str, label: str) -> Iterator[Raw]:
    """A column `prompt` and perhaps `label`; or one prompt per line, without a header."""
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    header = [each.strip().lower() for each in rows[0]] if rows else []
    headed = "prompt" in header
    at = header.index("prompt") if headed else 0
    named = header.index("label") if "label" in header else None
    for number, row in enumerate(rows[1:] if headed else rows, start=2 if headed else 1):
        own = row[named] if named is not None and named < len(row) else ""
        if at < len(row) and row[at].strip():
            yield own or label, row[at], Location(path=path, line=number)


def _shown(entry: Any) -> str:
    text = entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False)
    text = " ".join(text.split())
    return repr(text if len(text) <= 50 else text[:49] + "…")
