"""What GitHub Models kept inside a prompt file: `testData` and `evaluators`, as an evalset.

The file runs unchanged. `string` evaluators become our text scorers with GitHub's rules: `equals`
compares whole, the others ignore case. `llm` evaluators and the `uses: github/…` ones become
`choice`: a model sorts the answer into classes, and what GitHub passes, any score above 0, passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmops_cli.core.catalog import Catalog
from llmops_cli.core.errors import suggestion
from llmops_cli.core.prompt import Prompt
from llmops_cli.project.documents import Document
from llmops_cli.project.paths import Problems
from llmops_cli.project.schema import Evaluator, LlmEvaluator, StringEvaluator, WrittenPrompt

STARS = {"1": 0.0, "2": 0.25, "3": 0.5, "4": 0.75, "5": 1.0}
LEAST_STARS = 0.25
"""GitHub's evaluators pass with any score above 0."""
COMPLETION = re.compile(r"\{\{-?\s*completion\s*-?\}\}")
BUILT_IN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "similarity": (
        (
            "How near is the answer to the reference answer in meaning? 5: it says the same; 3: it "
            "says the most important part; 1: it says something else."
        ),
        ("expected",),
    ),
    "relevance": (
        (
            "How much of the answer is about what was asked? 5: all of it, and the question is "
            "answered; 3: about half; 1: it does not address the question."
        ),
        (),
    ),
    "coherence": (
        (
            "How well do the sentences of the answer hang together? 5: each follows from the one "
            "before; 3: the thread is lost at times; 1: unconnected sentences."
        ),
        (),
    ),
    "fluency": (
        (
            "How well is the answer written? 5: without mistakes, natural to read; 3: mistakes "
            "that do not hide the meaning; 1: hard to understand."
        ),
        (),
    ),
    "groundedness": (
        (
            "How much of the answer is supported by the reference? 5: every statement; 3: about "
            "half; 1: nothing, or the opposite."
        ),
        ("expected",),  # GitHub's own template passes `expected` as the context
    ),
}
"""What each of GitHub's own evaluators asks, in our words, and what its judge is shown."""


def is_own_evalset(written: WrittenPrompt) -> bool:
    """Whether the prompt file carries its own cases or evaluators."""
    return bool(written.test_data or written.evaluators)


def case_rows(prompt: Prompt, written: WrittenPrompt) -> list[dict[str, Any]]:
    """Each row of `testData` as a case: what the templates use are inputs, `expected` is itself.

    Anything else is kept as metadata.
    """
    return [_case(prompt, row) for row in written.test_data or ()]


def scorer_entries(
    written: WrittenPrompt, document: Document, catalog: Catalog, problems: Problems
) -> list[tuple[int, dict[str, Any]]]:
    """Each evaluator as lines under `scorers:`, with its position in the file."""
    found: list[tuple[int, dict[str, Any]]] = []
    for position, evaluator in enumerate(written.evaluators or ()):
        try:
            found.extend((position, entry) for entry in _entries(evaluator, catalog))
        except NotRunnable as error:
            problems.add(document.where("evaluators", position), str(error), error.hint)
    return found


class NotRunnable(Exception):
    """An evaluator that cannot be run as it stands."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def _case(prompt: Prompt, row: Mapping[str, Any]) -> dict[str, Any]:
    inputs = {name: _as_text(value) for name, value in row.items() if name in prompt.inputs}
    rest = {name: value for name, value in row.items() if name not in (*inputs, "expected")}
    return {"inputs": inputs, "expected": row.get("expected"), "metadata": rest}


def _as_text(value: Any) -> Any:
    """GitHub writes booleans as `true` and `false`."""
    return str(value).lower() if isinstance(value, bool) else value


def _entries(evaluator: Evaluator, catalog: Catalog) -> Iterator[dict[str, Any]]:
    given = [each for each in (evaluator.string, evaluator.llm, evaluator.uses) if each is not None]
    if len(given) != 1:
        raise NotRunnable(
            f"the evaluator '{evaluator.name}' needs exactly one of string, llm and uses"
        )
    if evaluator.string is not None:
        yield from _string(evaluator.name, evaluator.string, catalog)
    elif evaluator.llm is not None:
        yield _judged(evaluator, evaluator.llm)
    else:
        yield _built_in(evaluator)


def _string(name: str, evaluator: StringEvaluator, catalog: Catalog) -> Iterator[dict[str, Any]]:
    conditions = evaluator.model_dump(exclude_none=True)
    if not conditions:
        raise NotRunnable(f"the evaluator '{name}' asks for nothing")
    for position, (condition, text) in enumerate(conditions.items()):
        kind = catalog.scorers["exact" if condition == "equals" else condition]
        assert kind.shorthand is not None
        options: dict[str, Any] = {
            kind.shorthand: text,
            "name": name if position == 0 else f"{name} ({condition})",
        }
        if condition != "equals":
            options["ignore_case"] = True
        yield {kind.name: options}


def _built_in(evaluator: Evaluator) -> dict[str, Any]:
    uses = evaluator.uses or ""
    name = uses.removeprefix("github/")
    if name == uses or name not in BUILT_IN:
        known = [f"github/{each}" for each in BUILT_IN]
        raise NotRunnable(f"unknown evaluator '{uses}'", suggestion(uses, known))
    criteria, sees = BUILT_IN[name]
    return {
        "choice": {
            "name": evaluator.name,
            "criteria": criteria,
            "choices": STARS,
            "min": LEAST_STARS,
            **dict.fromkeys(sees, True),
        }
    }


def _judged(evaluator: Evaluator, llm: LlmEvaluator) -> dict[str, Any]:
    """An evaluator with a prompt of its own: its words are the criteria of a `choice`."""
    choices = {each.choice: each.score for each in llm.choices}
    passing = [score for score in choices.values() if score > 0]
    if not passing:
        raise NotRunnable(f"no choice of the evaluator '{evaluator.name}' has a score above 0")
    said = "\n\n".join(filter(None, (llm.system_prompt, llm.prompt)))
    model = llm.model_id
    return {
        "choice": {
            "name": evaluator.name,
            "criteria": COMPLETION.sub("(the answer to sort, below)", said),
            "choices": choices,
            "min": min(passing),
            "model": model if "/" in model else f"openai/{model}",
        }
    }
