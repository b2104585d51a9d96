"""Scorers of what an application retrieved: its ids, best first, against those that are relevant.

The figures are trec_eval's, by its binding `pytrec_eval` (the extra `retrieval`), and need no
model. An id that is returned a second time takes up its place and counts for nothing there. An
application that retrieved nothing scores 0; one that does not report its ids is Unscored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from pytrec_eval import RelevanceEvaluator

from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Case
from llmops_cli.core.result import Completion, Score, Unscored
from llmops_cli.scorers.scoring import not_reported, quoted

Id: TypeAlias = str | int
Relevant: TypeAlias = Id | Sequence[Id] | Mapping[str, int]
"""One id, several, or the grade of each: 0 is not relevant, more is better."""

LARGEST_GRADE = 100
"""A grade is a small whole number; the figures add grades up."""


def check(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with `relevant` and `k`, if anything."""
    k = options.get("k")
    if k is not None and k < 1:
        return f"k is {k}, and must be at least 1"
    grades = _grades(options["relevant"])
    for name, grade in grades.items():
        if not 0 <= grade <= LARGEST_GRADE:
            return f"the grade of {quoted(name, 40)} is {grade}, and must be 0 to {LARGEST_GRADE}"
    if not any(grades.values()):
        return "`relevant` names nothing that is relevant"
    return None


def _measured(
    measure: str,
    whole: str,
    _case: Case,
    completion: Completion,
    *,
    relevant: Relevant,
    k: int | None = None,
) -> Score | Unscored:
    """Return one of trec_eval's measures over the first `k` ids, or `whole` over all of them."""
    if completion.ids is None:
        return not_reported("ids")
    ids, grades = completion.ids[:k], _grades(relevant)
    value = _trec_eval(ids, grades, whole if k is None else measure.format(k=k))
    total = sum(grade > 0 for grade in grades.values())
    first_place = {name: place for place, name in reversed(list(enumerate(ids, start=1)))}
    hits = {name: first_place[name] for name in dict.fromkeys(ids) if grades.get(name, 0) > 0}
    return Score(value=value, reason=_reason(hits, total, len(ids)))


hit_at_k = partial(_measured, "success.{k}", "")
"""1 if one of the first `k` is relevant."""
precision_at_k = partial(_measured, "P.{k}", "")
"""The relevant among the first `k`, divided by `k`, even where fewer were retrieved."""
recall_at_k = partial(_measured, "recall.{k}", "")
"""The share of the relevant ones that is among the first `k`."""
mrr = partial(_measured, "recip_rank", "recip_rank")
"""1 / the place of the first relevant one; 0 where none is among the first `k`. The mean over cases
is the mean reciprocal rank."""
ndcg = partial(_measured, "ndcg_cut.{k}", "ndcg")
"""The normalized discounted cumulative gain over the first `k`, or over all (Järvelin and
Kekäläinen 2002): Σ grade / log₂(place + 1), divided by its value for the best possible order of all
the relevant ones."""


def _trec_eval(ids: Sequence[str], grades: Mapping[str, int], measure: str) -> float:
    """Return `measure` by pytrec_eval, with short names for the ids: its own are C strings.

    Scores fall with the place, so that no two are equal and nothing is left to a tie.
    """
    place = {name: f"r{at}" for at, name in reversed(list(enumerate(ids)))}
    judged = {place.get(name, f"m{at}"): grade for at, (name, grade) in enumerate(grades.items())}
    ranked = {f"r{at}": float(-at) for at in range(len(ids))} or {"none": 0.0}
    (figures,) = RelevanceEvaluator({"q": judged}, {measure}).evaluate({"q": ranked}).values()
    return float(figures[measure.replace(".", "_")])


def _grades(relevant: Relevant) -> dict[str, int]:
    if isinstance(relevant, Mapping):
        return {str(name): grade for name, grade in relevant.items()}
    names = [relevant] if isinstance(relevant, (str, int)) else relevant
    return {str(name): 1 for name in names}


def _reason(hits: Mapping[str, int], total: int, retrieved: int) -> str:
    """Return which relevant ids were retrieved at which place."""
    if not retrieved:
        return "nothing was retrieved"
    shown = ", ".join(f"{quoted(name, 40)} at {place}" for name, place in list(hits.items())[:5])
    more = f" and {len(hits) - 5} more" if len(hits) > 5 else ""
    places = f": {shown}{more}" if hits else ""
    return f"{len(hits)} of {total} relevant among {retrieved} retrieved{places}"
