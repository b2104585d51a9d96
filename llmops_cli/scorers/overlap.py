"""The scorers `rouge` and `bleu`: words that the answer shares with the expected text.

ROUGE is Google's `rouge-score` (Lin 2004, "ROUGE: A Package for Automatic Evaluation of
Summaries"), BLEU is `sacrebleu` (Papineni et al. 2002) with exponential smoothing and effective
order, as it does for single sentences. Both need the extra `text`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from llmops_cli.core.digest import Json
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.scoring import LONGEST_COMPARED, answer_text, expected_texts, quoted

Rouge: TypeAlias = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]

LONGEST_BLEU = 100_000
"""Characters of an answer that is still a text to be compared; BLEU takes linear time."""


def rouge(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    kind: Rouge = "rougeL",
    stem: bool = False,
) -> Score | Unscored:
    """Return the F-measure for the expected text that gives the highest."""
    expected = expected_texts(value, case)
    if isinstance(expected, Unscored):
        return expected
    answer = answer_text(completion)
    if max(len(answer), *map(len, expected)) > LONGEST_COMPARED:
        return Unscored(why=f"ROUGE is for texts up to {LONGEST_COMPARED:,} characters")
    scorer = RougeScorer([kind], use_stemmer=stem)
    best, nearest = max((scorer.score(text, answer)[kind].fmeasure, text) for text in expected)
    return Score(value=float(best), reason=f"{kind} {best:.2f} against {quoted(nearest)}")


def bleu(
    case: Case,
    completion: Completion,
    *,
    value: Json = None,
    ignore_case: bool = False,
    tokenize: str = "13a",
) -> Score | Unscored:
    """Return the BLEU of the answer on [0, 1], all expected texts being its references together."""
    expected = expected_texts(value, case)
    if isinstance(expected, Unscored):
        return expected
    answer = answer_text(completion)
    if max(len(answer), *map(len, expected)) > LONGEST_BLEU:
        return Unscored(why=f"BLEU is for texts up to {LONGEST_BLEU:,} characters")
    scorer = BLEU(tokenize=tokenize, lowercase=ignore_case, effective_order=True)
    share = min(float(scorer.sentence_score(answer, list(expected)).score) / 100, 1.0)
    return Score(value=share, reason=f"BLEU {share:.2f} against {quoted(expected[0])}")
