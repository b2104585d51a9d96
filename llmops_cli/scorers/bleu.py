"""The `bleu` scorer: sentence BLEU against the expected texts, by `sacrebleu`.

Papineni et al. 2002; exponential smoothing and effective order, as `sacrebleu` does for single
sentences. Divided by 100, so on [0, 1]. Needs the extra `text`.
"""

from __future__ import annotations

from functools import lru_cache

from sacrebleu.metrics.bleu import BLEU

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import answer, expected_texts, quoted

LONGEST = 100_000
"""Characters of an answer that is still a text to be compared."""


def bleu(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    ignore_case: bool = False,
    tokenize: str = "13a",
) -> Score | Unscored:
    """BLEU of the answer, all expected texts being its references together."""
    wanted = expected_texts(value, case)
    if isinstance(wanted, Unscored):
        return wanted
    given = answer(completion.text)
    if max(len(given), *map(len, wanted)) > LONGEST:
        return Unscored(why=f"BLEU is for texts up to {LONGEST:,} characters")
    measured = _metric(tokenize, ignore_case).sentence_score(given, list(wanted))
    share = min(float(measured.score) / 100, 1.0)
    return Score(value=share, reason=f"BLEU {share:.2f} against {quoted(wanted[0])}")


@lru_cache(maxsize=8)
def _metric(tokenize: str, ignore_case: bool) -> BLEU:  # noqa: FBT001 - the key of a cache
    return BLEU(tokenize=tokenize, lowercase=ignore_case, effective_order=True)
