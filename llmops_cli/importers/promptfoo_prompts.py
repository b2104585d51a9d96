"""Reads the prompts of a promptfoo configuration as lists of turns, and their templates.

promptfoo keeps a chat as JSON or YAML inside one text. Its templates are Nunjucks, which shares
most of its syntax with ours. What is written differently is rewritten inside `{{ }}` and `{% %}`
only, never in the text around them; what has no counterpart is a `NotCarried`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, get_args

from pydantic import TypeAdapter, ValidationError

from llmops_cli.core.errors import InvalidFiles, Location
from llmops_cli.core.prompt import Role
from llmops_cli.importers.source import (
    ImportFolder,
    Node,
    NotCarried,
    is_file,
    mapped_texts,
    mapping,
    read_document,
    table_rows,
)
from llmops_cli.project.schema import Parts
from llmops_cli.project.templates import BadTemplate, Sandbox, is_template, strings

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

TAG = re.compile(r"(\{\{-?|\{%-?)(.*?)(-?\}\}|-?%\})", re.DOTALL)
LITERAL = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
UNCLOSED = re.compile(r"\{%[^%]*$|\{\{[^}]*$|\{#[^#]*$", re.MULTILINE)
PRINTED = re.compile(r"\{\{(-?)\s*([A-Za-z_][\w.]*)\s*(-?)\}\}")
REWRITTEN = (
    (re.compile(r"\|\s*dump\b(\s*\(\s*\))?"), "| tojson"),
    (re.compile(r"\|\s*dump\s*\(\s*(\d)\s*\)"), r"| tojson(\1)"),
    (re.compile(r"\|\s*safe\b"), ""),
    (re.compile(r"!=="), "!="),
    (re.compile(r"==="), "=="),
    (re.compile(r"&&"), " and "),
    (re.compile(r"\|\|"), " or "),
    (re.compile(r"^(\s*)(?:elseif|elif)\b"), r"\1elif"),
    (re.compile(r"([\w\])])\.length\b(?!\s*\()"), r"\1|length"),
    (re.compile(r"\.toUpperCase\(\)"), ".upper()"),
    (re.compile(r"\.toLowerCase\(\)"), ".lower()"),
    (re.compile(r"\.trim\(\)"), ".strip()"),
    (re.compile(r"\bnull\b"), "none"),
)
NOT_OURS: Mapping[str, str] = {
    "env": "templates cannot read the environment",
    "_conversation": "earlier answers are not available to a template",
}

Turn: TypeAlias = dict[str, Any]
Raw: TypeAlias = tuple[str | None, str | list[Turn], Location]
"""A label, the text or its turns, and the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePrompt:
    """A prompt with its line and the label that providers refer to."""

    turns: list[Turn]
    label: str | None
    where: Location
    names: frozenset[str]
    """The inputs that its templates use."""


def read_prompts(written: Node, folder: ImportFolder) -> list[SourcePrompt]:
    """Return everything under `prompts:` in its order; what cannot be read is noted."""
    if not written.value:
        out = "write at least one prompt"
        written.lost("'prompts'", "there are none", out)
    entries = written.items()
    if isinstance(written.value, dict):
        entries = [
            replace(written.at(path), value={"id": path, "label": label})
            for path, label in written.value.items()
        ]
    prompts: list[SourcePrompt] = []
    for entry in entries:
        with entry.reporting(f"the prompt {_shown(entry.value)}"):
            prompts.extend(_prompt(*raw) for raw in _texts(entry.value, entry.where, folder))
    return prompts


def _texts(entry: Any, where: Location, folder: ImportFolder) -> Iterator[Raw]:
    label = None
    if isinstance(entry, dict):
        label = entry.get("label") if isinstance(entry.get("label"), str) else None
        if entry.get("config"):
            why = "a prompt's own parameters overrule its provider's"
            folder.notes.lost(where, "'config' of a prompt", why, "`modelParameters`")
        entry = entry.get("raw", entry.get("content", entry.get("id")))
        if isinstance(entry, list):
            yield label, turns_of(entry), where
            return
    if not isinstance(entry, str):
        raise NotCarried("it is no text", "write the prompt out")
    if ELSEWHERE.match(entry):
        raise NotCarried("it is kept elsewhere or made by code", "write the prompt out")
    if is_file(entry) or ("\n" not in entry and PATH.fullmatch(entry) and _exists(entry, folder)):
        for path in folder.matching(entry):
            yield from _file(path, label or path, folder)
    else:
        yield label, entry, where


def _exists(entry: str, folder: ImportFolder) -> bool:
    """Tell whether a bare path names a file; if not, it is the prompt's text."""
    if CODE_PATH.fullmatch(entry):
        return True
    try:
        for path in folder.matching(entry):
            folder.text(path)
    except NotCarried:
        return False
    return True


def _file(path: str, label: str, folder: ImportFolder) -> Iterator[Raw]:
    where = Location(path=path)
    if path.endswith((".yaml", ".yml")):
        yield label, turns_of(folder.document(path).value), where
    elif path.endswith(".jsonl"):
        for line_where, line in folder.lines(path):
            yield label, line, line_where
    elif path.endswith(".csv"):
        yield from _table(folder.text(path), path, label)
    elif path.endswith(".txt"):
        first = 1
        for part in DELIMITER.split(folder.text(path)):
            if part.strip():
                skipped = part[: len(part) - len(part.lstrip())].count("\n")
                yield label, part.strip(), Location(path=path, line=first + skipped)
            first += part.count("\n")
    else:
        yield label, folder.text(path).strip(), where


def _table(text: str, path: str, label: str) -> Iterator[Raw]:
    """Yield the column `prompt`, with `label` beside it; without a header, a prompt per line."""
    rows = [row for _, row in table_rows(text, path) if row]
    header = [name.strip().lower() for name in rows[0]] if rows else []
    headed = "prompt" in header
    columns = header if headed else ["prompt"]
    for number, row in enumerate(rows[headed:], start=1 + headed):
        cells = dict(zip(columns, row, strict=False))
        if cells.get("prompt", "").strip():
            yield cells.get("label") or label, cells["prompt"], Location(path=path, line=number)


def _prompt(label: str | None, raw: str | list[Turn], where: Location) -> SourcePrompt:
    """Return the prompt. Raises `NotCarried` if a text is no template that can be converted."""
    turns = turns_in(raw) if isinstance(raw, str) else raw
    texts = (text for turn in turns for text in strings(turn["content"]))
    names = frozenset().union(*map(names_in, texts))
    return SourcePrompt(turns=turns, label=label, where=where, names=names)


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
    messages = mapping(data).get("messages")
    turns = messages if isinstance(messages, list) else data
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise NotCarried("it is no list of turns", WRITE_MESSAGES)
    return list(map(_turn, turns))


def _json(text: str) -> Any:
    """Return the JSON of a chat, where a `{{ x | dump }}` stands for one whole text."""
    marked = DUMPED.sub('"\ufdd0\\1\ufdd1"', text)
    for source in (marked, text):
        try:
            return mapped_texts(json.loads(source), lambda value: MARK.sub(r"{{ \1 }}", value))
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
    return {"role": written["role"], "content": mapped_texts(content, converted)}


def _shown(entry: Any) -> str:
    text = entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False)
    text = " ".join(text.split())
    return repr(text if len(text) <= 50 else text[:49] + "…")


def converted(text: str) -> str:
    """Return `text` in the template language of prompts. Raises `NotCarried`."""
    if not is_template(text):
        return text
    if UNCLOSED.search(text) and "{% raw %}" not in text:
        return f"{{% raw %}}{text}{{% endraw %}}"
    rewritten = TAG.sub(_tag, text)
    names = names_in(rewritten)
    for name, why in NOT_OURS.items():
        if name in names:
            raise NotCarried(f"'{name}': {why}", "write the value out, or make it an input")
    return rewritten


def names_in(text: str) -> frozenset[str]:
    """Return the inputs that a converted template uses. Raises `NotCarried`."""
    if not is_template(text):
        return frozenset()
    try:
        names, includes = Sandbox().examine(text)
    except BadTemplate as error:
        hint = error.hint or "write the template with what docs/files.md lists"
        raise NotCarried(f"line {error.line} of the template: {error.message}", hint) from None
    if includes:
        raise NotCarried("it includes other files", "put their text into the template")
    return frozenset(names)


def printing_json(text: str, structured: frozenset[str]) -> str:
    """Return `text` in which values that are `structured` (no text, no number) print as JSON."""

    def written(match: re.Match[str]) -> str:
        if match[2].partition(".")[0] in structured and "." not in match[2]:
            return f"{{{{{match[1]} {match[2]} | tojson {match[3]}}}}}"
        return match[0]

    return PRINTED.sub(written, text) if structured else text


def rendered(text: str, values: Mapping[str, Any]) -> str:
    """Return what a template makes of the variables of one test. Raises `NotCarried`.

    A name without a value is empty, as in Nunjucks.
    """
    source = converted(text)
    if not is_template(source):
        return source
    filled = {**dict.fromkeys(names_in(source), ""), **values}
    structured = {name for name in filled if isinstance(filled[name], (bool, list, dict))}
    sandbox = Sandbox()
    try:
        template = sandbox.compiled(printing_json(source, frozenset(structured)))
        return sandbox.write(template, filled)
    except BadTemplate as error:
        raise NotCarried(error.message, "write the value out") from None


def _tag(match: re.Match[str]) -> str:
    """Return one `{{ }}` or `{% %}` with everything but its literals rewritten."""
    parts = LITERAL.split(match[2])
    for position in range(0, len(parts), 2):
        for pattern, replacement in REWRITTEN:
            parts[position] = pattern.sub(replacement, parts[position])
    return match[1] + "".join(parts) + match[3]
