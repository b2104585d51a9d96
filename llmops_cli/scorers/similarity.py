"""The `similarity` scorer: how few edits turn the answer into the expected text."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import answer, expected_texts, folded, quoted

LONGEST = 20_000
"""Characters compared: the distance takes time in the product of both lengths."""


def similarity(
    case: Case, completion: Completion, *, value: Json = None, ignore_case: bool = False
) -> Score | Unscored:
    """1 − Levenshtein distance / length of the longer text, for the nearest expected text."""
    wanted = expected_texts(value, case)
    if isinstance(wanted, Unscored):
        return wanted
    given = folded(answer(completion.text).strip(), ignore_case=ignore_case)
    if max(len(given), *map(len, wanted)) > LONGEST:
        return Unscored(why=f"edit similarity is for texts up to {LONGEST:,} characters")
    nearest, best = "", -1.0
    for each in wanted:
        near = Levenshtein.normalized_similarity(
            given, folded(each.strip(), ignore_case=ignore_case)
        )
        if near > best:
            nearest, best = each, near
    return Score(value=best, reason=f"{best:.0%} like {quoted(nearest)}")
