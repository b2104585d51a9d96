"""The baseline as it was when its evidence was made: its cases and its answers.

Answers that were recorded in a file answer whichever side asks today. So a version whose file has
changed since is compared by its evidence, and where one record would answer both sides, the
baseline has no answer: a candidate is never compared with its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from llmops_cli.run.base_changes import removed_with_evalset
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison
from llmops_cli.run.reuse import MeasuredCase, evidence_store, measured_cases, measured_evalsets
from llmops_cli.run.selection import ResolvedTarget
from llmops_cli.run.side import Side
from llmops_cli.run.workspace import Workspace


def use_evidence_only(
    workspace: Workspace,
    side: Side,
    running: ResolvedTarget,
    selection: EvalsetSelection,
    measured: Mapping[str, MeasuredCase],
) -> None:
    """Make `side` what the evidence holds, however old, under the requests it measured."""
    assert running.version is not None
    if not side.plan.requests:
        side.make_requests(selection.cases)
    side.spec = replace(
        side.spec,
        evidence_only=True,
        results=evidence_store(workspace, running.target.prompt.name, running.version),
        records=None,  # what was recorded since is not what was measured
    )
    side.plan.pools = side.plan.fresh = False
    side.plan.not_before = None
    for position, case in enumerate(selection.cases):
        before = measured.get(case.id)
        if before is not None and before.facts == case.facts:
            side.plan.requests[position] = before.request


def use_recorded_evidence(
    workspace: Workspace, side: Side, target: ResolvedTarget, selection: EvalsetSelection
) -> None:
    """Make `side` what the evidence of a version holds, where its recorded answers changed since.

    Only where the evidence holds every case. Elsewhere the file answers, except where it answers
    the candidate as well (`EvalsetRun.plan`).
    """
    if side.spec.records is None or target.version is None:
        return
    name = target.target.prompt.name
    measured = measured_cases(workspace, name, target.version, selection.evalset.name)
    side.make_requests(selection.cases)
    pairs = [
        (case, measured.get(case.id), request)
        for case, request in zip(selection.cases, side.plan.requests, strict=True)
    ]
    whole = all(before and before.facts == case.facts for case, before, _ in pairs)
    changed = any(before and before.request != request for _, before, request in pairs)
    if whole and changed:
        use_evidence_only(workspace, side, target, selection, measured)


def cases_before(
    workspace: Workspace, comparison: PromptComparison, selection: EvalsetSelection
) -> Mapping[str, MeasuredCase]:
    """Return what the baseline's evidence was measured on, by case id."""
    baseline = comparison.baseline
    if baseline is None or baseline.version is None:
        return {}
    name = baseline.target.prompt.name
    return measured_cases(workspace, name, baseline.version, selection.evalset.name)


def removed_cases(
    workspace: Workspace,
    comparison: PromptComparison,
    selection: EvalsetSelection,
    measured: Mapping[str, MeasuredCase],
) -> Iterator[str]:
    """Yield the cases that the baseline was measured on, or had at the base, and that are gone.

    Those of removed evalsets are reported with the first evalset of the comparison.
    """
    if comparison.baseline is None:
        return
    known = dict.fromkeys((*measured, *comparison.base.ids(selection.evalset.name)))
    here = {case.id for case in selection.evalset.cases} if known else {}
    yield from (case for case in known if case not in here)
    own = comparison.baseline.target.prompt.name == comparison.prompt
    if own and selection is comparison.evalsets[0]:
        before = _cases_of_all_evalsets(workspace, comparison)
        yield from removed_with_evalset(workspace.project, comparison.prompt, before)


def _cases_of_all_evalsets(
    workspace: Workspace, comparison: PromptComparison
) -> Mapping[str, Collection[str]]:
    """Return the cases of every evalset that gated the prompt, in evidence or at the base."""
    base, baseline = comparison.base, comparison.baseline
    cases = {name: dict.fromkeys(base.ids(name)) for name in base.evalsets}
    if baseline is not None and baseline.version is not None:
        for name in measured_evalsets(workspace, comparison.prompt, baseline.version):
            measured = measured_cases(workspace, comparison.prompt, baseline.version, name)
            cases.setdefault(name, {}).update(dict.fromkeys(measured))
    return cases


def case_changes(
    measured: Mapping[str, MeasuredCase], facts: Mapping[str, str], *, watch: bool
) -> Iterator[str]:
    """Say how many cases were added and edited since the baseline's evidence.

    `facts` are those of the cases today, by id.
    """
    if not measured:
        return
    added = sum(case not in measured for case in facts)
    edited = sum(case in measured and measured[case].facts != now for case, now in facts.items())
    tail = ": not part of the watch" if watch else ""
    for count, what in ((added, "added"), (edited, "edited")):
        if count:
            cases = f"{count} case{'s' if count != 1 else ''}"
            yield f"{cases} {what} since the baseline's evidence{tail}"
