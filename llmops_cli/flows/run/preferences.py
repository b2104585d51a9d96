"""Answers set side by side: which answer of the baseline each draw of the candidate meets.

Draw n meets the baseline's draw n, around again where there are fewer. Where both arms make the
same request, an answer meets itself: that is a tie. What is asked for, and kept, are the
scores of such pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llmops_cli.core.case import Case
from llmops_cli.core.result import Completion
from llmops_cli.flows.run.arm import Arm, chunks
from llmops_cli.flows.run.compact import DrawAt
from llmops_cli.flows.run.scoring import Scorers


class Met(NamedTuple):
    """A draw of the candidate, its answer, and the answer that it meets."""

    at: DrawAt
    ours: Completion
    theirs: Completion


def meetings(candidate: Arm, baseline: Arm, cases: Sequence[Case]) -> Iterator[Met]:
    """Every draw of which both answers are there; notes on `candidate` what each meets."""
    for part in chunks(range(len(cases))):
        ours = candidate.completions(candidate.draws(part))
        theirs = baseline.completions(baseline.draws(part))
        for at, mine in ours.items():
            if at in candidate.failures:
                continue
            other = mine
            if candidate.requests[at.case] != baseline.requests[at.case]:
                numbers = baseline.wanted[at.case]
                meets = DrawAt(at.case, numbers[at.n % len(numbers)]) if numbers else None
                found = theirs.get(meets) if meets else None
                if not meets or found is None or meets in baseline.failures:
                    continue
                other = found
            candidate.beside[at] = other.digest
            yield Met(at, mine, other)


def unset(candidate: Arm, baseline: Arm, cases: Sequence[Case], scorers: Scorers) -> list[Met]:
    """The pairs that lack a score: those that are there already."""
    lacking = []
    for met in meetings(candidate, baseline, cases):
        case = cases[met.at.case]
        keys = [bound.key(case, met.ours.digest, met.theirs.digest) for bound in scorers.paired]
        held = candidate.results.scores(keys)
        known = zip(scorers.paired, keys, strict=True)
        if not all(scorers.counts(bound, held, key) for bound, key in known):
            lacking.append(met)
    return lacking
