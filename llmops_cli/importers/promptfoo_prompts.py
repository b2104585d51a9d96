"""Collect the prompts of a promptfoo configuration and its files as lists of turns.

promptfoo keeps a chat as JSON or YAML inside one text.
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
from llmops_cli.importers.imported import NotCarried, Notes
from llmops_cli.importers.nunjucks import converted, names_in
from llmops_cli.importers.source import ImportFolder, is_file, read_document
from llmops_cli.project.documents import Document, Place
from llmops_cli.project.schema import Parts
from llmops_cli.project.templates import strings

ROLES = frozenset(get_args(Role))
PARTS: TypeAdapter[Any] = TypeAdapter(Parts)
LOOKS_LIKE_JSON = re.compile(r"\s*[\[{]\s*[\[{\"%]")
DUMPED = re.compile(r"(?<![\"\w])\{\{-?\s*([\w.]+)\s*\|\s*(?:dump|tojson)(?:\(\))?\s*-?\}\}")
"""`{{ x | dump }}` outside a JSON text: the template writes the quotes itself."""
MARK = re.compile("\ufdd0([\\w.]+)\ufdd1")
DELIMITER = re.compile(r"^[ \t]*---[ \t]*$", re.MULTILINE)
PATH = re.compile(r"[\w./*@ -]+\.(txt|json|jsonl|yaml|yml|md|j2|csv|js|cjs|mjs|ts|py)(:\w+)?")
CODE_PATH = re.compile(r".*\.(js|cjs|mjs|ts|py)(:\w+)?")
ELSEWHERE = re.compile(r"(langfuse|portkey|helicone|https?)://|(exec|package):")
WRITE_MESSAGES = "write the turns under `messages`"

Turn: TypeAlias = dict[str, Any]
Raw: TypeAlias = tuple[str | None, str | list[Turn], Location]
"""A label, the text or its turns, and the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPrompt:
    """A prompt with its line and the label that providers refer to."""

    turns: list[Turn]
    label: str | None
    where: Location
    names: frozenset[str]
    """The inputs that its templates use."""


class PromptCollector:
    """Reads everything under `prompts:`; what cannot be read is noted."""

    def __init__(self, document: Document, nearby: ImportFolder, notes: Notes) -> None:
        self._document = document
        self._nearby = nearby
        self._notes = notes

    def read(self, written: Any) -> list[FoundPrompt]:
        """Return the prompts in the order in which they are written."""
        if not written:
            where = self._document.where("prompts")
            self._notes.lost(where, "'prompts'", "there are none", "write at least one prompt")
            return []
        entries: list[tuple[Place, Any]] = [(("prompts",), written)]
        if isinstance(written, dict):
            pairs = written.items()
            entries = [(("prompts", key), {"id": key, "label": label}) for key, label in pairs]
        elif isinstance(written, list):
            entries = [(("prompts", at), entry) for at, entry in enumerate(written)]
        prompts: list[FoundPrompt] = []
        for place, entry in entries:
            where = self._document.where(*place)
            try:
                prompts.extend(_prompt(*raw) for raw in self._entry(entry, where))
            except NotCarried as error:
                self._notes.take(where, f"the prompt {_shown(entry)}", error)
        return prompts

    def _entry(self, entry: Any, where: Location) -> Iterator[Raw]:
        label = None
        if isinstance(entry, dict):
            label = entry.get("label") if isinstance(entry.get("label"), str) else None
            if entry.get("config"):
                why = "a prompt's own parameters overrule its provider's"
                self._notes.lost(where, "'config' of a prompt", why, "`modelParameters`")
            entry = entry.get("raw", entry.get("content", entry.get("id")))
            if isinstance(entry, list):
                yield label, turns_of(entry), where
                return
        if not isinstance(entry, str):
            raise NotCarried("it is no text", "write the prompt out")
        if ELSEWHERE.match(entry):
            raise NotCarried("it is kept elsewhere or made by code", "write the prompt out")
        if is_file(entry) or ("\n" not in entry and PATH.fullmatch(entry) and self._exists(entry)):
            for path in self._nearby.matching(entry):
                yield from self._file(path, label or path)
        else:
            yield label, entry, where

    def _exists(self, entry: str) -> bool:
        """Tell whether a bare path names a file; if not, it is the prompt's text."""
        if CODE_PATH.fullmatch(entry):
            return True
        try:
            for path in self._nearby.matching(entry):
                self._nearby.text(path)
        except NotCarried:
            return False
        return True

    def _file(self, path: str, label: str) -> Iterator[Raw]:
        where = Location(path=path)
        if path.endswith((".yaml", ".yml")):
            yield label, turns_of(self._nearby.document(path).data), where
        elif path.endswith(".jsonl"):
            for line_where, line in self._nearby.lines(path):
                yield label, line, line_where
        elif path.endswith(".csv"):
            yield from _table(self._nearby.text(path), path, label)
        elif path.endswith(".txt"):
            first = 1
            for part in DELIMITER.split(self._nearby.text(path)):
                if part.strip():
                    skipped = part[: len(part) - len(part.lstrip())].count("\n")
                    yield label, part.strip(), Location(path=path, line=first + skipped)
                first += part.count("\n")
        else:
            yield label, self._nearby.text(path).strip(), where


def _prompt(label: str | None, raw: str | list[Turn], where: Location) -> FoundPrompt:
    """Return the prompt. Raises `NotCarried` if a text is no template that can be converted."""
    turns = turns_in(raw) if isinstance(raw, str) else raw
    texts = (text for turn in turns for text in strings(turn["content"]))
    names = frozenset().union(*map(names_in, texts))
    return FoundPrompt(turns=turns, label=label, where=where, names=names)


def turns_in(text: str) -> list[Turn]:
    """Return the messages that a prompt's text holds, converted. Raises `NotCarried`."""
    if re.match(r"\s*-\s*role\s*:", text):
        try:
            return turns_of(read_document(text.encode(), "prompt").data)
        except InvalidFiles as error:
            raise NotCarried(error.problems[0].message, WRITE_MESSAGES) from None
    if LOOKS_LIKE_JSON.match(text) and '"role"' in text.replace("'", '"'):
        return turns_of(_json(text))
    return [{"role": "user", "content": converted(text)}]


def turns_of(data: Any) -> list[Turn]:
    """Return the messages in parsed JSON or YAML, converted. Raises `NotCarried`."""
    if isinstance(data, Mapping) and isinstance(data.get("messages"), list):
        data = data["messages"]
    if not isinstance(data, Sequence) or isinstance(data, str) or not data:
        raise NotCarried("it is no list of turns", WRITE_MESSAGES)
    return list(map(_turn, data))


def _json(text: str) -> Any:
    """Return the JSON of a chat, where a `{{ x | dump }}` stands for one whole text."""
    marked = DUMPED.sub('"\ufdd0\\1\ufdd1"', text)
    for source in (marked, text):
        try:
            return _mapped(json.loads(source), lambda value: MARK.sub(r"{{ \1 }}", value))
        except ValueError:
            continue
    raise NotCarried(
        "its turns are built by template code, or it is not JSON",
        f"{WRITE_MESSAGES}; earlier turns go to a case's `messages`",
    )


def _turn(written: Any) -> Turn:
    if not isinstance(written, Mapping) or written.get("role") not in ROLES:
        raise NotCarried("a turn without a known role", WRITE_MESSAGES)
    content = written.get("content")
    if extra := ", ".join(sorted(set(written) - {"role", "content"})):
        raise NotCarried(f"a turn has more than role and content: {extra}", "write its text")
    if not isinstance(content, str):
        try:
            PARTS.validate_python(content)
        except ValidationError:
            why = "a turn's content is no text and no image"
            raise NotCarried(why, "write its text") from None
    return {"role": written["role"], "content": _mapped(content, converted)}


def _mapped(value: Any, convert: Any) -> Any:
    """Return plain data with every text in it converted."""
    if isinstance(value, str):
        return convert(value)
    if isinstance(value, list):
        return [_mapped(item, convert) for item in value]
    if isinstance(value, dict):
        return {name: _mapped(item, convert) for name, item in value.items()}
    return value


def _table(text: str, path: str, label: str) -> Iterator[Raw]:
    """Yield the column `prompt`, with `label` beside it; without a header, a prompt per line."""
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    header = [name.strip().lower() for name in rows[0]] if rows else []
    headed = "prompt" in header
    at = header.index("prompt") if headed else 0
    named = header.index("label") if "label" in header else None
    for number, row in enumerate(rows[headed:], start=1 + headed):
        own = row[named] if named is not None and named < len(row) else ""
        if at < len(row) and row[at].strip():
            yield own or label, row[at], Location(path=path, line=number)


def _shown(entry: Any) -> str:
    text = entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False)
    text = " ".join(text.split())
    return repr(text if len(text) <= 50 else text[:49] + "…")
