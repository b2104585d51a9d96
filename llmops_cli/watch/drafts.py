"""Draft cases out of production: what went wrong for a user becomes a case to review.

A draft has no `expected` and never gates. What looks like a credential is left out; mail addresses,
phone and card numbers are masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rapidfuzz import fuzz, process

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.prompt import Case, Prompt

NEAR = 90.0
"""Similarity (0 to 100, of sets of words) from which on two inputs are the same case."""
FAR = 50.0
"""Similarity to every case under which an input is rare."""
DIFFERENT = 70.0
"""Similarity under which two answers to one question disagree."""
CREDENTIAL = re.compile(
    r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\."
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
)
MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
DIGITS = re.compile(r"\+?\d(?:[ ./()-]{0,2}\d){6,18}")
"""A phone or card number, as people write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafts:
    """Cases to review, and what was left out."""

    cases: Sequence[dict[str, Json]]
    near: int = 0
    """Calls like a case that there is, or like another draft."""
    credentials: int = 0
    """Calls with something that looks like a key."""
    without_inputs: int = 0
    """Calls whose messages do not say what the inputs were."""
    masked: int = 0
    """Drafts in which something was masked."""


def draft_cases(
    rows: Iterable[Mapping[str, Any]],
    prompt: Prompt,
    known: Iterable[Case],
    *,
    kinds: Sequence[str],
    most: int,
    keep_pii: bool = False,
) -> Drafts:
    """Return at most `most` drafts of `prompt` out of stored calls, the kinds in turns.

    Raises `Refused` if none of the calls has messages or inputs.
    """
    rows = [row for row in rows if _is_of(row, prompt.name)]
    if not rows:
        raise Refused(
            f"no call of {prompt.name} has messages",
            hint="set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true in the service, "
            "and llmops.version on its spans",
        )
    texts = [_text(case.inputs) for case in known]
    near = credentials = without = masked = 0
    cases: list[dict[str, Json]] = []
    for kind, row in _in_turns({kind: list(KINDS[kind](rows, texts)) for kind in kinds}):
        if len(cases) >= most:
            break
        inputs = inputs_of(row, prompt)
        if inputs is None:
            without += 1
            continue
        text = _text(inputs)
        if CREDENTIAL.search(json.dumps(row)):
            credentials += 1
            continue
        if process.extractOne(text, texts, scorer=fuzz.token_set_ratio, score_cutoff=NEAR):
            near += 1
            continue
        texts.append(text)
        case: dict[str, Json] = {
            "id": f"trace-{row['span'][:16]}",
            "draft": True,
            "inputs": inputs,
            "tags": ["production", kind],
            "metadata": {
                "trace": row["trace"],
                "version": row["version"],
                "answer": last_text(row["output"]),
            },
        }
        shown = case if keep_pii else _masked(case)
        masked += shown != case
        cases.append(shown)
    return Drafts(
        cases=cases, near=near, credentials=credentials, without_inputs=without, masked=masked
    )


def inputs_of(row: Mapping[str, Any], prompt: Prompt) -> dict[str, Json] | None:
    """Return the prompt's inputs of a call; None if they are not known.

    They stand in the span (`llmops.inputs`), or the last message of the user is the only one.
    """
    if row.get("inputs"):
        try:
            inputs: Any = json.loads(row["inputs"])
        except ValueError:
            return None
        return inputs if isinstance(inputs, dict) else None
    text = last_text(row["input"], role="user")
    if len(prompt.inputs) != 1 or not text:
        return None
    (name,) = prompt.inputs
    return {name: text}


def last_text(messages: str, role: str = "") -> str:
    """Return the text of the last message (of `role`) in any of the dialects."""
    try:
        document: Any = json.loads(messages)
    except ValueError:
        return messages
    if isinstance(document, dict):
        document = document.get("messages", [document])
    if not isinstance(document, list):
        return str(document)
    for message in reversed(document):
        if isinstance(message, dict) and (not role or message.get("role") == role):
            content: Any = message.get("content", message.get("parts", message.get("message", "")))
            parts = content if isinstance(content, list) else [content]
            return "".join(
                str(part.get("content", part.get("text", "")))
                if isinstance(part, dict)
                else str(part)
                for part in parts
            )
    return ""


def mask(text: str) -> str:
    """Return `text` without mail addresses, phone numbers and card numbers."""
    return DIGITS.sub("[number]", MAIL.sub("[mail]", text))


def _masked(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        kept = {"id", "trace"}
        return {name: item if name in kept else _masked(item) for name, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else value


def _is_of(row: Mapping[str, Any], prompt: str) -> bool:
    return row["version"].partition("@")[0] == prompt and bool(row["input"] or row.get("inputs"))


def _text(inputs: Mapping[str, Json]) -> str:
    return " ".join(str(value) for value in inputs.values()).lower()


def _in_turns(rows: Mapping[str, list[Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a row of each kind after the other, each row once."""
    seen: set[int] = set()
    for position in range(max(map(len, rows.values()), default=0)):
        for kind, of_kind in rows.items():
            if position < len(of_kind) and of_kind[position]["id"] not in seen:
                seen.add(of_kind[position]["id"])
                yield kind, of_kind[position]


Rows = Sequence[Mapping[str, Any]]


def _thumbs_down(rows: Rows, _known: Sequence[str]) -> Rows:
    bad = [row for row in rows if row["satisfied"] is not None and row["satisfied"] < 0.5]
    return sorted(bad, key=lambda row: -row["time"])


def _failed(rows: Rows, _known: Sequence[str]) -> Rows:
    return sorted((row for row in rows if row["error"]), key=lambda row: -row["time"])


def _slow(rows: Rows, _known: Sequence[str]) -> Rows:
    return sorted(rows, key=lambda row: -(row["seconds"] or 0.0))[: max(1, len(rows) // 20)]


def _rare(rows: Rows, known: Sequence[str]) -> Rows:
    """Return the calls whose input is like no case, the least alike first."""
    scored = []
    for row in rows:
        text = last_text(row["input"], role="user").lower()
        best = max((fuzz.token_set_ratio(text, case) for case in known), default=0.0)
        if text and best < FAR:
            scored.append((best, row["id"], row))
    return [row for _, _, row in sorted(scored, key=lambda item: item[:2])]


def _disagreement(rows: Rows, _known: Sequence[str]) -> Rows:
    """Return calls that were asked the same and answered differently."""
    answers: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        text = " ".join(last_text(row["input"], role="user").lower().split())
        if text and row["output"]:
            answers.setdefault(text, []).append(row)
    return [
        group[0]
        for group in answers.values()
        if any(
            fuzz.token_set_ratio(last_text(group[0]["output"]), last_text(row["output"]))
            < DIFFERENT
            for row in group[1:]
        )
    ]


KINDS: Mapping[str, Callable[[Rows, Sequence[str]], Rows]] = {
    "thumbs-down": _thumbs_down,
    "failed": _failed,
    "slow": _slow,
    "rare": _rare,
    "disagreement": _disagreement,
}
"""How calls are chosen for drafts."""
