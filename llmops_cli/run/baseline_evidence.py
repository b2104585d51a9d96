"""What a candidate is compared with, as it was when it was measured: its cases and its answers.

Answers that were recorded in a file answer whoever asks today. So a version whose file has changed
since is compared by its evidence, and where one record would answer both sides, the baseline has no
answer: a candidate is never set beside its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from llmops_cli.run.base_changes import gone_with_their_evalset
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison
from llmops_cli.run.reuse import Evidenced, evidence_alone, evidenced_cases, evidenced_evalsets
from llmops_cli.run.selection import ResolvedTarget
from llmops_cli.run.side import Side
from llmops_cli.run.workspace import Workspace


def watched(
    workspace: Workspace,
    side: Side,
    running: ResolvedTarget,
    this: EvalsetSelection,
    before: Mapping[str, Evidenced],
) -> None:
    """Makes `side` what the evidence holds, however old, under the requests it measured."""
    assert running.version is not None
    side.evidence_only, side.pools = True, False
    side.not_before, side.fresh = None, False
    side.results = evidence_alone(workspace, running.target.prompt.name, running.version)
    if not side.requests:
        side.address(this.cases)
    side.records = None  # what was recorded since is not what was measured
    for position, case in enumerate(this.cases):
        measured = before.get(case.id)
        if measured is not None and measured.facts == case.facts:
            side.requests[position] = measured.request


def recalled(
    workspace: Workspace, side: Side, contender: ResolvedTarget, this: EvalsetSelection
) -> None:
    """Makes `side` what the evidence of a version holds, where its recorded answers changed since.

    Only where the evidence holds every case. Elsewhere the file answers, but for what it answers
    the candidate as well (`Pairing.plan`).
    """
    if side.records is None or contender.version is None:
        return
    name = contender.target.prompt.name
    before = evidenced_cases(workspace, name, contender.version, this.evalset.name)
    side.address(this.cases)
    held = [before.get(case.id) for case in this.cases]
    whole = all(
        found is not None and found.facts == case.facts
        for found, case in zip(held, this.cases, strict=True)
    )
    changed = any(
        found is not None and found.request != request
        for found, request in zip(held, side.requests, strict=True)
    )
    if whole and changed:
        watched(workspace, side, contender, this, before)


def cases_before(
    workspace: Workspace, contest: PromptComparison, this: EvalsetSelection
) -> Mapping[str, Evidenced]:
    """What the baseline's evidence was measured on, by case id."""
    baseline = contest.baseline
    if baseline is None or baseline.version is None:
        return {}
    name = baseline.target.prompt.name
    return evidenced_cases(workspace, name, baseline.version, this.evalset.name)


def removed(
    workspace: Workspace,
    contest: PromptComparison,
    this: EvalsetSelection,
    before: Mapping[str, Evidenced],
) -> Iterator[str]:
    """Cases that the baseline was measured on, or had at the base revision, and that are gone.

    Those whose evalset is gone stand with the contest's first.
    """
    if contest.baseline is None:
        return
    known = dict.fromkeys((*before, *contest.then.ids(this.evalset.name)))
    here = {case.id for case in this.evalset.cases} if known else {}
    yield from (case for case in known if case not in here)
    if this is contest.rounds[0] and contest.baseline.target.prompt.name == contest.prompt:
        asked = _asked_before(workspace, contest)
        yield from gone_with_their_evalset(workspace.project, contest.prompt, asked)


def _asked_before(workspace: Workspace, contest: PromptComparison) -> Mapping[str, Collection[str]]:
    """The cases of every evalset that gated the prompt, in evidence or at the base revision."""
    then = contest.then
    asked = {name: dict.fromkeys(then.ids(name)) for name in then.evalsets}
    running = contest.baseline
    if running is not None and running.version is not None:
        for name in evidenced_evalsets(workspace, contest.prompt, running.version):
            found = evidenced_cases(workspace, contest.prompt, running.version, name)
            asked.setdefault(name, {}).update(dict.fromkeys(found))
    return asked


def news(before: Mapping[str, Evidenced], here: Mapping[str, str], *, watch: bool) -> Iterator[str]:
    """Added and edited cases, told apart: both sides are measured on them anew."""
    if not before:
        return
    added = sum(case not in before for case in here)
    edited = sum(case in before and before[case].facts != facts for case, facts in here.items())
    tail = ": not part of the watch" if watch else ""
    for count, what in ((added, "added"), (edited, "edited")):
        if count:
            cases = f"{count} case{'s' if count != 1 else ''}"
            yield f"{cases} {what} since the baseline's evidence{tail}"
