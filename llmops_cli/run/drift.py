"""The silent update: another model answers under the same name, as a target or as a judge.

Two sides that different models answered are no comparison of prompts, and two sides that different
judges judged are none at all. Where that is seen, what is older is drawn or judged anew; offline
nothing can be, and so the run is INCOMPLETE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmops_cli.gate.comparison import Comparison
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.side import Side


def drifted(each: EvalsetRun, with_baseline: Comparison) -> Iterator[tuple[Side, str]]:
    """Sides to draw anew because another model answered the side beside them, and what answered.

    The baseline first; where the candidate's reused draws are the older ones, then the candidate.
    """
    ours = each.candidate
    for role, other in each.others.items():
        side = next((one for one in (other, ours) if not one.renewed), None)
        if side is None or not _same_name(ours, other):
            continue
        compared = with_baseline if role == "baseline" else each.comparison(role)
        now, before = compared.candidate.served_models, compared.baseline.served_models
        if now and before and set(now) != set(before):
            who = f"{' and '.join(before)} answered the {role} and {' and '.join(now)}"
            yield side, f"under one model name {who} the candidate"
            if side is ours:
                return


def judged_by_others(each: EvalsetRun, today: Mapping[str, str]) -> Iterator[str]:
    """Scores to give anew because several models judged under one name; marks them as outdated.

    `today`: what answers now, by the name of a model that was called in this run. Where the judge
    was not called, all that is held may be outdated.
    """
    for bound in each.scorers.all:
        label, judge = bound.label, bound.judge
        served = {one for side in each.sides for one in side.judges.get(label, ())}
        if judge is None or len(served) < 2 or label in each.rejudged:
            continue
        each.rejudged.add(label)
        each.scorers.outdated[label] = served - {today.get(judge.target.model.name)}
        who = " and ".join(sorted(served))
        yield f"{label} was judged by {who} under one name: what is older is judged anew"


def _same_name(one: Side, other: Side) -> bool:
    ours, theirs = one.target.model, other.target.model
    return (ours.provider, ours.model) == (theirs.provider, theirs.model)
