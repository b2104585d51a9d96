"""ragas' figures of retrieval that ask nobody: retrieved against relevant, by id and by text.

By id, neither order nor repeats count. By text, a retrieved passage is a relevant one where they
are alike by edit distance. Retrieving nothing has 0; not saying what was retrieved is `Unscored`.

ragas' public way to a score writes an id of the user under HOME, whatever its telemetry is told;
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

from llmops_cli.core.case import Case
from llmops_cli.core.result import Completion, Score, Unscored

LONGEST = 20_000
"""Characters compared: the distance takes time in the product of both lengths."""

IN_VAIN = Score(value=0.0, reason="the application retrieved nothing")


class Alike:
    """ragas' own similarity of two texts, 1 − edit distance / longer length, without telemetry."""

    async def single_turn_ascore(self, pair: SingleTurnSample, _callbacks: object) -> float:
        """The similarity of a retrieved and a relevant passage, on [0, 1]."""
        return float(1 - Levenshtein.normalized_distance(pair.reference, pair.response))


async def precision_by_id(
    _case: Case, completion: Completion, *, relevant: Sequence[str | int]
) -> Score | Unscored:
    """The share of the retrieved ids that is relevant."""
    return await _by_id(IDBasedContextPrecision(), completion, relevant)


async def recall_by_id(
    _case: Case, completion: Completion, *, relevant: Sequence[str | int]
) -> Score | Unscored:
    """The share of the relevant ids that was retrieved."""
    return await _by_id(IDBasedContextRecall(), completion, relevant)


async def precision_by_text(
    _case: Case, completion: Completion, *, relevant: Sequence[str], threshold: float = 0.5
) -> Score | Unscored:
    """Average precision of the retrieved passages: whether those that are relevant stand first."""
    metric = NonLLMContextPrecisionWithReference(distance_measure=Alike(), threshold=threshold)
    return await _by_text(metric, completion, relevant)


async def recall_by_text(
    _case: Case, completion: Completion, *, relevant: Sequence[str], threshold: float = 0.5
) -> Score | Unscored:
    """The share of the relevant passages that was retrieved."""
    metric = NonLLMContextRecall(_distance_measure=Alike(), threshold=threshold)
    return await _by_text(metric, completion, relevant)


async def _by_id(
    metric: Any,  # noqa: ANN401 - ragas' types
    completion: Completion,
    relevant: Sequence[str | int],
) -> Score | Unscored:
    if completion.ids is None:
        return _silent("ids")
    if not completion.ids:
        return IN_VAIN
    sample = SingleTurnSample(
        retrieved_context_ids=list(completion.ids), reference_context_ids=list(relevant)
    )
    both = {str(each) for each in relevant} & set(completion.ids)
    told = f"{len(both)} of {len(set(relevant))} relevant among {len(set(completion.ids))} ids"
    return Score(value=float(await metric._single_turn_ascore(sample, None)), reason=told)  # noqa: SLF001 - above


async def _by_text(
    metric: Any,  # noqa: ANN401 - ragas' types
    completion: Completion,
    relevant: Sequence[str],
) -> Score | Unscored:
    if completion.contexts is None:
        return _silent("contexts")
    if not completion.contexts:
        return IN_VAIN
    if max(map(len, (*completion.contexts, *relevant))) > LONGEST:
        return Unscored(why=f"passages are compared up to {LONGEST:,} characters")
    sample = SingleTurnSample(
        retrieved_contexts=list(completion.contexts), reference_contexts=list(relevant)
    )
    told = f"{len(completion.contexts)} retrieved against {len(relevant)} relevant passages"
    return Score(value=float(await metric._single_turn_ascore(sample, None)), reason=told)  # noqa: SLF001 - above


def _silent(what: str) -> Unscored:
    return Unscored(
        why=f"the answer does not report the {what} of what was retrieved: name their place in "
        f"it with `response.{what}` of the model"
    )
