"""The `rouge` scorer: ROUGE F-measure against the expected text, by Google's `rouge-score`.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries". Needs the extra `text`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from rouge_score.rouge_scorer import RougeScorer

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import answer, expected_texts, quoted

Kind = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]

LONGEST = 20_000
"""Characters compared: the longest common subsequence takes time in the product of both."""


def rouge(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    kind: Kind = "rougeL",
    stem: bool = False,
) -> Score | Unscored:
    """The F-measure for the expected text that gives the highest."""
    wanted = expected_texts(value, case)
    if isinstance(wanted, Unscored):
        return wanted
    given = answer(completion.text)
    if max(len(given), *map(len, wanted)) > LONGEST:
        return Unscored(why=f"ROUGE is for texts up to {LONGEST:,} characters")
    scorer = _scorer(kind, stem)
    best, nearest = max((scorer.score(each, given)[kind].fmeasure, each) for each in wanted)
    return Score(value=float(best), reason=f"{kind} {best:.2f} against {quoted(nearest)}")


@lru_cache(maxsize=8)
def _scorer(kind: Kind, stem: bool) -> RougeScorer:  # noqa: FBT001 - the key of a cache
    return RougeScorer([kind], use_stemmer=stem)
