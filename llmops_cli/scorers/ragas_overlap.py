"""ragas' retrieval scores that call no model: retrieved against relevant, by id and by text.

By id, neither order nor repeats count. By text, a retrieved passage is a relevant one where they
are alike by edit distance. Retrieving nothing scores 0; not reporting it is `Unscored`.

ragas' public way to a score writes an id of the user under HOME, whatever its telemetry setting is;
the method behind it does not, and the version is pinned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ragas.dataset_schema import SingleTurnSample
from ragas.metrics import (
    IDBasedContextPrecision,
    IDBasedContextRecall,
    NonLLMContextPrecisionWithReference,
    NonLLMContextRecall,
)
from rapidfuzz.distance import Levenshtein

from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.answers import LONGEST_COMPARED, not_reported

NOTHING_RETRIEVED = Score(value=0.0, reason="the application retrieved nothing")


class EditSimilarity:
    """ragas' own similarity of two texts, 1 − edit distance / longer length, without telemetry."""

    async def single_turn_ascore(self, pair: SingleTurnSample, _callbacks: object) -> float:
        """Return the similarity of a retrieved and a relevant passage, on [0, 1]."""
        return float(1 - Levenshtein.normalized_distance(pair.reference, pair.response))


async def precision_by_id(
    _case: Case, completion: Completion, *, relevant: Sequence[str | int]
) -> Score | Unscored:
    """Return the share of the retrieved ids that is relevant."""
    return await _by_id(IDBasedContextPrecision(), completion, relevant)


async def recall_by_id(
    _case: Case, completion: Completion, *, relevant: Sequence[str | int]
) -> Score | Unscored:
    """Return the share of the relevant ids that was retrieved."""
    return await _by_id(IDBasedContextRecall(), completion, relevant)


async def precision_by_text(
    _case: Case, completion: Completion, *, relevant: Sequence[str], threshold: float = 0.5
) -> Score | Unscored:
    """Return the average precision of the retrieved passages: do the relevant ones come first?"""
    metric = NonLLMContextPrecisionWithReference(
        distance_measure=EditSimilarity(), threshold=threshold
    )
    return await _by_text(metric, completion, relevant)


async def recall_by_text(
    _case: Case, completion: Completion, *, relevant: Sequence[str], threshold: float = 0.5
) -> Score | Unscored:
    """Return the share of the relevant passages that was retrieved."""
    metric = NonLLMContextRecall(_distance_measure=EditSimilarity(), threshold=threshold)
    return await _by_text(metric, completion, relevant)


async def _by_id(
    metric: Any,  # noqa: ANN401 - ragas' types
    completion: Completion,
    relevant: Sequence[str | int],
) -> Score | Unscored:
    if completion.ids is None:
        return not_reported("ids")
    if not completion.ids:
        return NOTHING_RETRIEVED
    sample = SingleTurnSample(
        retrieved_context_ids=list(completion.ids), reference_context_ids=list(relevant)
    )
    both = {str(name) for name in relevant} & set(completion.ids)
    reason = f"{len(both)} of {len(set(relevant))} relevant among {len(set(completion.ids))} ids"
    return Score(value=float(await metric._single_turn_ascore(sample, None)), reason=reason)  # noqa: SLF001 - above


async def _by_text(
    metric: Any,  # noqa: ANN401 - ragas' types
    completion: Completion,
    relevant: Sequence[str],
) -> Score | Unscored:
    if completion.contexts is None:
        return not_reported("contexts")
    if not completion.contexts:
        return NOTHING_RETRIEVED
    if max(map(len, (*completion.contexts, *relevant))) > LONGEST_COMPARED:
        return Unscored(why=f"passages are compared up to {LONGEST_COMPARED:,} characters")
    sample = SingleTurnSample(
        retrieved_contexts=list(completion.contexts), reference_contexts=list(relevant)
    )
    reason = f"{len(completion.contexts)} retrieved against {len(relevant)} relevant passages"
    return Score(value=float(await metric._single_turn_ascore(sample, None)), reason=reason)  # noqa: SLF001 - above
