"""What a verdict needs of an arm, minus what evidence and the store already hold."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_cli.core.case import Case
from llmops_cli.core.ports import DrawKey
from llmops_cli.run.columns import Draws
from llmops_cli.run.scorers import Scorers, missing_scores
from llmops_cli.run.side import Arm, chunks


def plan_arm(
    arm: Arm,
    cases: Sequence[Case],
    *,
    scorers: Scorers,
    asked: set[DrawKey],
    skip: frozenset[int] = frozenset(),
) -> None:
    """Sorts the wanted draws of `arm` into held, missing, shared and to score again.

    `asked` are the draws that the run makes already: equal requests are made once. Cases at the
    positions in `skip` want no draws: both arms make the same request. A completion known only
    by its digest whose scores are not all held is drawn anew: texts and scores of one case are
    never mixed from different answers. A draw among `arm.failures` was tried, and is not planned.
    """
    _want(arm, len(cases), skip)
    missing, shared, rescore = Draws(), Draws(), Draws()
    for positions in chunks(range(len(cases))):
        wanted = arm.draws(
            [at for at in positions if arm.wanted[at] and not arm.unanswerable(cases[at], at)]
        )
        wanted = [at for at in wanted if at not in arm.failures]
        held = arm.briefs(wanted)
        order = list(held)
        pairs = [(cases[at.case], held[at].digest) for at in order]
        lacking = {order[place] for place in missing_scores(arm.results, pairs, scorers)}
        for at in wanted:
            if at in held and at not in lacking:
                continue
            if at in held and held[at].whole:
                rescore.append(at)
                continue
            key = arm.key(at)
            (shared if key in asked else missing).append(at)
            asked.add(key)
    arm.missing, arm.shared, arm.rescore = missing, shared, rescore


def _want(arm: Arm, cases: int, skip: frozenset[int]) -> None:
    """The draws that are planned, and further ones of the same model that are held already."""
    planned = tuple(range(arm.repeats))
    arm.wanted = [() if at in skip else planned for at in range(cases)]
    if arm.evidence_only:
        arm.wanted = [()] * cases
        for positions in chunks(range(cases)):
            kept = arm.results.further(
                [arm.requests[at] for at in positions], arm.purpose, beyond=0
            )
            for at in positions:
                arm.wanted[at] = kept.get(arm.requests[at], ())
        return
    if not arm.pools or arm.fresh:
        return
    for positions in chunks([at for at in range(cases) if at not in skip]):
        requests = [arm.requests[at] for at in positions]
        held = arm.results.further(requests, arm.purpose, beyond=arm.repeats)
        for at in positions:
            further = held.get(arm.requests[at], ())
            if further:
                arm.wanted[at] = planned + _of_one_model(arm, arm.requests[at], further)


def _of_one_model(arm: Arm, request: str, further: tuple[int, ...]) -> tuple[int, ...]:
    """Those of `further` that count and that the model answered which answered last."""
    keys = [DrawKey(request, arm.purpose, n) for n in (*range(arm.repeats), *further)]
    found = arm.results.briefs(keys)
    held = {key: each for key, each in found.items() if arm.counts(each)}
    if not held:
        return ()
    newest = max(held.values(), key=lambda each: each.at or "")
    alike = (key.n for key, each in held.items() if each.served_model == newest.served_model)
    return tuple(sorted(set(alike) & set(further)))
