"""Collects the prompts of a promptfoo configuration, wherever they stand, as lists of turns."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from llmops_cli.core.errors import Location
from llmops_cli.files.importers.chat import Turn, turns_from, turns_of
from llmops_cli.files.importers.notes import NotCarried, Notes
from llmops_cli.files.importers.nunjucks import names_in
from llmops_cli.files.importers.source import Nearby, is_file
from llmops_cli.files.template import strings
from llmops_cli.files.yaml import Document, Place

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
