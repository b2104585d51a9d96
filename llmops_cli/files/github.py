"""What GitHub Models kept inside a prompt file: `testData` and `evaluators`, as an evalset.

The file runs unchanged. `string` evaluators become our text scorers with GitHub's rules: `equals`
compares whole, the others ignore case. `llm` evaluators and the `uses: github/…` ones ask a model
for a verdict; they are read where the installation has the judged scorers, and are an error where
it has not, since an evaluator that is left out silently would be a gate left open. The exception
is `github/similarity`, which is then measured by edit distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmops_cli.core.catalogue import Catalogue
from llmops_cli.core.errors import suggestion
from llmops_cli.core.prompt import Prompt
from llmops_cli.files.problems import Problems
from llmops_cli.files.schema import Evaluator, StringEvaluator, WrittenPrompt
from llmops_cli.files.yaml import Document

SIMILAR = 0.25
"""GitHub's evaluators pass above one star of five, which is 0.25 on their scale from 0 to 1."""
BUILT_IN = ("similarity", "relevance", "coherence", "fluency", "groundedness")


def is_own_evalset(written: WrittenPrompt) -> bool:
    """Whether the prompt file carries its own cases or evaluators."""
    return bool(written.test_data or written.evaluators)


def case_rows(prompt: Prompt, written: WrittenPrompt) -> list[dict[str, Any]]:
    """Each row of `testData` as a case: what the templates use are inputs, `expected` is itself.

    Anything else is kept as metadata.
    """
    return [_case(prompt, row) for row in written.test_data or ()]


def scorer_entries(
    written: WrittenPrompt, document: Document, catalogue: Catalogue, problems: Problems
) -> list[tuple[int, dict[str, Any]]]:
    """Each evaluator as lines under `scorers:`, with its position in the file."""
    found: list[tuple[int, dict[str, Any]]] = []
    for position, evaluator in enumerate(written.evaluators or ()):
        try:
            found.extend((position, entry) for entry in _entries(evaluator, catalogue))
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


def _entries(evaluator: Evaluator, catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    given = [each for each in (evaluator.string, evaluator.llm, evaluator.uses) if each is not None]
    if len(given) != 1:
        raise NotRunnable(
            f"the evaluator '{evaluator.name}' needs exactly one of string, llm and uses"
        )
    if evaluator.string is not None:
        yield from _string(evaluator.name, evaluator.string, catalogue)
    elif evaluator.llm is not None:
        llm = evaluator.llm
        yield _judged(
            evaluator.name,
            catalogue,
            model=llm.model_id,
            prompt=llm.prompt,
            system_prompt=llm.system_prompt,
            choices={each.choice: each.score for each in llm.choices},
        )
    else:
        yield _built_in(evaluator, catalogue)


def _string(
    name: str, evaluator: StringEvaluator, catalogue: Catalogue
) -> Iterator[dict[str, Any]]:
    conditions = evaluator.model_dump(exclude_none=True)
    if not conditions:
        raise NotRunnable(f"the evaluator '{name}' asks for nothing")
    for position, (condition, text) in enumerate(conditions.items()):
        kind = catalogue.scorers["exact" if condition == "equals" else condition]
        assert kind.shorthand is not None
        options: dict[str, Any] = {
            kind.shorthand: text,
            "name": name if position == 0 else f"{name} ({condition})",
        }
        if condition != "equals":
            options["ignore_case"] = True
        yield {kind.name: options}


def _built_in(evaluator: Evaluator, catalogue: Catalogue) -> dict[str, Any]:
    uses = evaluator.uses or ""
    name = uses.removeprefix("github/")
    if name == uses or name not in BUILT_IN:
        known = [f"github/{each}" for each in BUILT_IN]
        raise NotRunnable(f"unknown evaluator '{uses}'", suggestion(uses, known))
    if name == "similarity" and "choice" not in catalogue.scorers:
        options = {"value": "{{ expected }}", "min": SIMILAR, "name": evaluator.name}
        return {"similarity": options}
    return _judged(evaluator.name, catalogue, built_in=name)


def _judged(name: str, catalogue: Catalogue, **options: Any) -> dict[str, Any]:
    if "choice" not in catalogue.scorers:
        raise NotRunnable(
            f"the evaluator '{name}' is judged by a model, and this version has no judged scorers",
            "use string evaluators, or a `python` scorer",
        )
    chosen = {key: value for key, value in options.items() if value is not None}
    return {"choice": {**chosen, "name": name}}
