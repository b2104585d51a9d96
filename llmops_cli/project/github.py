"""Read `testData` and `evaluators` in a prompt file of GitHub Models as an evalset.

`string` evaluators become text scorers with the rules of `gh models eval`: white space at both
ends of the answer does not count, `equals` compares whole, the others ignore case. `llm`
evaluators and `uses: github/…` become `choice`: a model sorts the answer into classes, and what
passed on GitHub, any score above 0, passes. docs/files.md lists what is not taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmops_cli.core.errors import suggestion
from llmops_cli.core.ports import Catalog
from llmops_cli.core.prompt import Prompt
from llmops_cli.project.documents import Document
from llmops_cli.project.paths import Problems
from llmops_cli.project.schema import Evaluator, LlmEvaluator, StringEvaluator, WrittenPrompt

STARS = {"1": 0.0, "2": 0.25, "3": 0.5, "4": 0.75, "5": 1.0}
LEAST_STARS = 0.25
"""GitHub's evaluators pass with any score above 0."""
PLACEHOLDER = re.compile(r"\{\{-?\s*([^\s{}|()\[\]'\"]+?)\s*-?\}\}")
BUILT_IN: Mapping[str, tuple[str, bool]] = {
    "similarity": (
        (
            "How near is the answer to the reference answer in meaning? 5: it says the same; 3: it "
            "says the most important part; 1: it says something else."
        ),
        True,
    ),
    "relevance": (
        (
            "How much of the answer is about what was asked? 5: all of it, and the question is "
            "answered; 3: about half; 1: it does not address the question."
        ),
        False,
    ),
    "coherence": (
        (
            "How well do the sentences of the answer hang together? 5: each follows from the one "
            "before; 3: the thread is lost at times; 1: unconnected sentences."
        ),
        False,
    ),
    "fluency": (
        (
            "How well is the answer written? 5: without mistakes, natural to read; 3: mistakes "
            "that do not hide the meaning; 1: hard to understand."
        ),
        False,
    ),
    "groundedness": (
        (
            "Take the reference answer as the only source. How much of the answer does it "
            "support? 5: every statement; 3: about half; 1: nothing, or it says the opposite."
        ),
        True,
    ),
}
"""What each of GitHub's own evaluators asks, in our words, and whether it is shown `expected`.

GitHub passed `expected` as the context of groundedness.
"""


class NotRunnable(Exception):
    """An evaluator that can't be run as written."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def is_own_evalset(written: WrittenPrompt) -> bool:
    """Tell whether the prompt file carries its own tests: either half asserts nothing alone."""
    return bool(written.evaluators and written.test_data)


def case_rows(prompt: Prompt, written: WrittenPrompt) -> list[dict[str, Any]]:
    """Return each row of `testData` as a case.

    What the templates use are inputs, `expected` is itself, and `id` if no template uses it;
    anything else is metadata, where evaluators find it. A row that is here twice gets an id.
    """
    rows: list[dict[str, Any]] = []
    questions: set[str] = set()
    for number, data in enumerate(written.test_data or (), start=1):
        inputs = {name: _as_text(value) for name, value in data.items() if name in prompt.inputs}
        others = {name: value for name, value in data.items() if name not in (*inputs, "expected")}
        row = {"inputs": inputs, "expected": data.get("expected"), "metadata": others}
        question = json.dumps([inputs, list(map(str, inputs.values()))], sort_keys=True)
        if isinstance(others.get("id"), (str, int)):
            row["id"] = others.pop("id")
        elif question in questions:
            row["id"] = f"{prompt.name}-row-{number}"
        questions.add(question)
        rows.append(row)
    return rows


def scorer_entries(
    prompt: Prompt, written: WrittenPrompt, document: Document, catalog: Catalog, problems: Problems
) -> list[tuple[int, dict[str, Any]]]:
    """Return each evaluator as lines under `scorers:`, with its position in the file."""
    entries: list[tuple[int, dict[str, Any]]] = []
    columns = _columns(prompt, written)
    names: set[str] = set()
    for position, evaluator in enumerate(written.evaluators or ()):
        try:
            for kind, options in _scorers(evaluator, columns, catalog):
                entries.append((position, {kind: _named(options, evaluator.name, names)}))
        except NotRunnable as error:
            problems.add(document.where("evaluators", position), str(error), error.hint)
    return entries


def _columns(prompt: Prompt, written: WrittenPrompt) -> dict[str, str]:
    """Return the expression for each `testData` column that evaluators write otherwise than it is.

    A column that is no input is metadata; booleans are written `true` and `false`.
    """
    columns: dict[str, str] = {}
    rows = written.test_data or ()
    for name in {name: None for row in rows for name in row if name not in (*prompt.inputs, "id")}:
        value = "expected" if name == "expected" else f"metadata[{name!r}]"
        if any(isinstance(row.get(name), bool) for row in rows):
            columns[name] = f"{value} | lower if {value} is boolean else {value}"
        elif name != "expected":
            columns[name] = value
    return columns


def _as_text(value: Any) -> Any:
    """Return a boolean as GitHub wrote it into a prompt, `true` and `false`."""
    return str(value).lower() if isinstance(value, bool) else value


def _named(options: dict[str, Any], name: str | None, names: set[str]) -> dict[str, Any]:
    """Return `options` with the evaluator's name, numbered where an earlier one has it."""
    if name is None:
        return options
    label, number = name, 1
    while label in names:
        number += 1
        label = f"{name} ({number})"
    names.add(label)
    return {**options, "name": label}


def _scorers(
    evaluator: Evaluator, columns: Mapping[str, str], catalog: Catalog
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kind and options of each scorer that the evaluator is."""
    forms = [form for form in (evaluator.string, evaluator.llm, evaluator.uses) if form is not None]
    label = f"the evaluator '{evaluator.name or 'without a name'}'"
    if len(forms) != 1:
        raise NotRunnable(f"{label} needs exactly one of string, llm and uses")
    if evaluator.string is not None:
        yield from _string(label, evaluator.string, columns, catalog)
    elif evaluator.llm is not None:
        yield "choice", _judged(label, evaluator.llm, columns)
    else:
        yield "choice", _built_in(evaluator.uses or "")


def _string(
    label: str, evaluator: StringEvaluator, columns: Mapping[str, str], catalog: Catalog
) -> Iterator[tuple[str, dict[str, Any]]]:
    conditions = {key: value for key, value in evaluator.model_dump().items() if value}
    if not conditions:
        raise NotRunnable(f"{label} asks for nothing")
    for condition, text in conditions.items():
        if condition == "is_json":
            yield "json", {"fence": False}
            continue
        kind = catalog.scorers["exact" if condition == "equals" else condition]
        assert kind.shorthand is not None
        folding = {} if condition == "equals" else {"ignore_case": True}
        yield kind.name, {kind.shorthand: _with_columns(text, columns), **folding}


def _built_in(uses: str) -> dict[str, Any]:
    name = uses.removeprefix("github/")
    if name == uses or name not in BUILT_IN:
        known = [f"github/{name}" for name in BUILT_IN]
        raise NotRunnable(f"unknown evaluator '{uses}'", suggestion(uses, known))
    criteria, sees_expected = BUILT_IN[name]
    shown = {"expected": True} if sees_expected else {}
    return {"criteria": criteria, "choices": STARS, "min": LEAST_STARS, **shown}


def _judged(label: str, llm: LlmEvaluator, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of an evaluator with a prompt of its own, whose words are the criteria.

    Scores are brought to 0 to 1: GitHub took any number, and passed what is above 0.
    """
    top = max(1.0, *(choice.score for choice in llm.choices))
    choices: dict[str, float] = {}
    for choice in llm.choices:
        if choice.choice.casefold() not in map(str.casefold, choices):  # the first one matched
            choices[choice.choice] = max(0.0, choice.score / top)
    passing = [score for score in choices.values() if score > 0]
    if not passing:
        raise NotRunnable(f"no choice of {label} has a score above 0")
    if len(choices) == 1:
        choices["none of these"] = 0.0
    texts: Sequence[str] = [text for text in (llm.system_prompt, llm.prompt) if text]
    model = llm.model_id
    return {
        "criteria": _with_columns("\n\n".join(texts), columns),
        "choices": choices,
        "min": min(passing),
        "model": model if "/" in model else f"openai/{model}",
    }


def _with_columns(text: str, columns: Mapping[str, str]) -> str:
    """Return a template with the expressions of `testData` columns in place of their names."""

    def written(match: re.Match[str]) -> str:
        name = match[1]
        if name == "completion":
            return "(the answer to sort, below)"
        return f"{{{{ {columns[name]} }}}}" if name in columns else match[0]

    return PLACEHOLDER.sub(written, text)
