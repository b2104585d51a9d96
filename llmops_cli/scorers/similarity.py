"""The `similarity` scorer: how few edits turn the answer into the expected text."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.scoring import LONGEST_COMPARED, answer_text, expected_texts, folded, quoted


def similarity(
    case: Case, completion: Completion, *, value: Json = None, ignore_case: bool = False
) -> Score | Unscored:
    """Return 1 − Levenshtein distance / longer length, for the nearest expected text."""
    expected = expected_texts(value, case)
    if isinstance(expected, Unscored):
        return expected
    answer = folded(answer_text(completion).strip(), ignore_case=ignore_case)
    if max(len(answer), *map(len, expected)) > LONGEST_COMPARED:
        return Unscored(why=f"edit similarity is for texts up to {LONGEST_COMPARED:,} characters")
    nearest, best = "", -1.0
    for text in expected:
        similar = Levenshtein.normalized_similarity(
            answer, folded(text.strip(), ignore_case=ignore_case)
        )
        if similar > best:
            nearest, best = text, similar
    return Score(value=best, reason=f"{best:.0%} like {quoted(nearest)}")
