"""What a verdict needs of a side, minus what evidence and the store already hold."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_cli.core.case import Case
from llmops_cli.core.ports import TrialKey
from llmops_cli.run.columns import Trials
from llmops_cli.run.scorers import Scorers, missing_scores
from llmops_cli.run.side import Side, chunks


def plan_side(
    side: Side,
    cases: Sequence[Case],
    *,
    scorers: Scorers,
    asked: set[TrialKey],
    skip: frozenset[int] = frozenset(),
) -> None:
    """Sorts the wanted draws of `side` into held, missing, shared and to score again.

    `asked` are the trials that the run makes already: equal requests are made once. Cases at the
    positions in `skip` want no trials: both sides make the same request. A completion known only
    by its digest whose scores are not all held is drawn anew: texts and scores of one case are
    never mixed from different answers. A draw among `side.failures` was tried, and is not planned.
    """
    _want(side, len(cases), skip)
    missing, shared, rescore = Trials(), Trials(), Trials()
    for positions in chunks(range(len(cases))):
        wanted = side.trials(
            [at for at in positions if side.wanted[at] and not side.unanswerable(cases[at], at)]
        )
        wanted = [at for at in wanted if at not in side.failures]
        held = side.briefs(wanted)
        order = list(held)
        pairs = [(cases[at.case], held[at].digest) for at in order]
        lacking = {order[place] for place in missing_scores(side.results, pairs, scorers)}
        for at in wanted:
            if at in held and at not in lacking:
                continue
            if at in held and held[at].whole:
                rescore.append(at)
                continue
            key = side.key(at)
            (shared if key in asked else missing).append(at)
            asked.add(key)
    side.missing, side.shared, side.rescore = missing, shared, rescore


def _want(side: Side, cases: int, skip: frozenset[int]) -> None:
    """The draws that are planned, and further ones of the same model that are held already."""
    planned = tuple(range(side.repeats))
    side.wanted = [() if at in skip else planned for at in range(cases)]
    if side.evidence_only:
        side.wanted = [()] * cases
        for positions in chunks(range(cases)):
            kept = side.results.further(
                [side.requests[at] for at in positions], side.purpose, beyond=0
            )
            for at in positions:
                side.wanted[at] = kept.get(side.requests[at], ())
        return
    if not side.pools or side.fresh:
        return
    for positions in chunks([at for at in range(cases) if at not in skip]):
        requests = [side.requests[at] for at in positions]
        held = side.results.further(requests, side.purpose, beyond=side.repeats)
        for at in positions:
            further = held.get(side.requests[at], ())
            if further:
                side.wanted[at] = planned + _of_one_model(side, side.requests[at], further)


def _of_one_model(side: Side, request: str, further: tuple[int, ...]) -> tuple[int, ...]:
    """Those of `further` that count and that the model answered which answered last."""
    keys = [TrialKey(request, side.purpose, n) for n in (*range(side.repeats), *further)]
    found = side.results.briefs(keys)
    held = {key: each for key, each in found.items() if side.counts(each)}
    if not held:
        return ()
    newest = max(held.values(), key=lambda each: each.at or "")
    alike = (key.n for key, each in held.items() if each.served_model == newest.served_model)
    return tuple(sorted(set(alike) & set(further)))
