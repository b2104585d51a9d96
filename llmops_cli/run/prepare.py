"""Answers that are recorded in a file: where they are found, now and at the base revision.

To a run, a recorded answer is the same as if it had been called when the run began.

From contests to pairings that are planned: the sides of every evalset, and what they may run.

The candidate's trials are `gate` draws; the baseline's, and an anchor's, are `baseline` draws made
apart from the ones that let it pass (the winner's curse).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from llmops_cli.core.digest import digest
from llmops_cli.core.policy import Latency
from llmops_cli.core.ports import Records, TrialKey
from llmops_cli.core.prompt import Model
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion
from llmops_cli.engine.prices import tariff
from llmops_cli.engine.sanitize import sanitized
from llmops_cli.gate.comparison import JUDGED_TRIALS
from llmops_cli.gate.judges import refuse_unfit_judges
from llmops_cli.plugins import open_records
from llmops_cli.project.paths import Unreadable
from llmops_cli.project.templates import Templates
from llmops_cli.run.baseline_evidence import cases_before, news, recalled, removed, watched
from llmops_cli.run.checks import vet_commands, vet_job, vet_metrics, vet_models, vet_scorers
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.revision import reading
from llmops_cli.run.selection import ResolvedTarget
from llmops_cli.run.side import Side
from llmops_cli.run.workspace import Workspace

FILE = "file"
"""The option that names the file of recorded answers."""
MAX_RECORDS = 2_000_000_000
"""Bytes of a file of records at another revision."""


def as_called(model: Model, redact: Redactor) -> Callable[[Completion], Completion]:
    """Prices a recorded answer of `model`, dates it now and lets no secret in."""
    price = tariff(model)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")

    def enter(completion: Completion) -> Completion:
        cost, usage = completion.cost, completion.usage
        if cost is None and price is not None and usage is not None:
            cost = price(usage)
        return sanitized(replace(completion, cost=cost, at=now), redact)

    return enter


def records(workspace: Workspace, model: Model, *, at_base: bool = False) -> Records | None:
    """Where the answers of `model` are recorded; None where it is called.

    `at_base`: as they stood at the base revision, where they are other ones now.
    """
    kind = workspace.provider(model)
    if kind.records is None:
        return None
    then = _recorded_then(workspace, model) if at_base else None
    root = workspace.root if then is None else _laid_out(workspace, str(model.options[FILE]), then)
    enter = as_called(model, workspace.redact)
    return workspace.stack.enter_context(open_records(kind)(model, root, enter))


def recorded_in(workspace: Workspace, model: Model, *, at_base: bool = False) -> str | None:
    """What names the records that `model` is answered from; None where it is called."""
    if workspace.provider(model).records is None:
        return None
    other = at_base and _recorded_then(workspace, model) is not None
    return digest("llmops/records/v1", [dict(model.options), other])


def _recorded_then(workspace: Workspace, model: Model) -> bytes | None:
    """The file of records of `model` at the base revision; None: it is as it was."""
    path = model.options.get(FILE)
    if workspace.base is None or not isinstance(path, str):
        return None
    with reading(workspace.base):
        then = workspace.rules.source.read(path, limit=MAX_RECORDS)
    try:
        return None if workspace.project.source.read(path, limit=MAX_RECORDS) == then else then
    except Unreadable:
        return then


def _laid_out(workspace: Workspace, path: str, content: bytes) -> Path:
    """A folder, for the length of the command, in which `path` holds `content`."""
    folder = Path(workspace.stack.enter_context(TemporaryDirectory(prefix="llmops-")))
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)
    return folder


BASELINE_REPEATS = 3
CONFIRMATIONS = JUDGED_TRIALS - 1
LONGEST_RUN = timedelta(days=7)
CENTURIES = 100_000
"""Days: older than any trial, and within the calendar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlan:
    """How much to draw: `fresh` takes nothing held, `own_baseline` is for evidence."""

    now: datetime
    fresh: bool = False
    own_baseline: bool = False
    for_this_run: bool = False
    """Whether new trials are dropped afterwards: chosen cases that are rerun would have more
    trials than the others, and re-running the failures alone hides a loss (docs/verdict.md)."""

    @property
    def start(self) -> str:
        """What was answered earlier is not fresh."""
        return self.now.isoformat(timespec="milliseconds")

    @property
    def end(self) -> str:
        """What was answered later was not answered in this run."""
        return (self.now + LONGEST_RUN).isoformat(timespec="milliseconds")


def pairings(
    workspace: Workspace, contest: PromptComparison, depth: SamplingPlan
) -> list[EvalsetRun]:
    """The contest's evalsets, ready to be planned."""
    return [_timed(_pairing(workspace, contest, each, depth)) for each in contest.rounds]


def plan(
    workspace: Workspace, contests: Sequence[PromptComparison], depth: SamplingPlan
) -> list[EvalsetRun]:
    """The evalsets of all contests, planned: a request that several make is made once."""
    planned = [each for contest in contests for each in pairings(workspace, contest, depth)]
    models = [model for pairing in planned for model in pairing.work().models]
    replaying = all(workspace.provider(model).offline for model in models)
    ci = vet_job(workspace.environ, replaying=replaying)
    for pairing in planned:
        trusted = workspace.rules.trust
        code = [each for each in pairing.models_called if workspace.provider(each).code]
        vet_models(code, trusted=trusted, ci=ci, environ=workspace.environ)
        started = workspace.commands(pairing.models_called)
        vet_commands(started, trusted=trusted, ci=ci, environ=workspace.environ)
        vet_scorers(pairing.scorers, trusted=trusted, ci=ci, environ=workspace.environ)
        vet_metrics(pairing.scorers, pairing.round.policy)
    asked: set[TrialKey] = set()
    for pairing in planned:
        pairing.plan(asked)
    return planned


def vetted(planned: list[EvalsetRun]) -> list[EvalsetRun]:
    """`planned`, whose judges may all gate. Raises `Refused`."""
    for each in planned:
        refuse_unfit_judges(each.gating, each.round.policy)
    return planned


def _pairing(
    workspace: Workspace, contest: PromptComparison, this: EvalsetSelection, depth: SamplingPlan
) -> EvalsetRun:
    start = depth.start if depth.fresh else None
    candidate = _side(
        workspace, contest.candidate, "candidate", depth, repeats=this.evalset.repeats
    )
    candidate.not_before, candidate.fresh = start, depth.fresh
    candidate.pools = candidate.pools and not contest.watch
    before = cases_before(workspace, contest, this)
    others = dict(_others(workspace, contest, this, depth))
    if contest.watch:
        assert contest.baseline is not None
        watched(workspace, others["baseline"], contest.baseline, this, before)
    own = None
    if depth.own_baseline:
        repeats = _repeats(workspace, contest.candidate, this)
        own = _side(workspace, contest.candidate, "own baseline", depth, repeats=repeats)
        own.not_before, own.fresh = start, depth.fresh
    scorers = workspace.scorers(this.evalset)
    confirming = None
    if any(metric.judged and metric.counts for metric in scorers.metrics):
        confirming = _side(workspace, contest.candidate, "confirming", depth, repeats=CONFIRMATIONS)
        confirming.purpose, confirming.pools = "confirm", False
        confirming.not_before, confirming.fresh = start, depth.fresh
    if any(kind.live for kind in scorers.kinds):
        for side in (candidate, *others.values()):
            side.pools = False  # earlier draws have no latency: pooled, they would lack a score
    if depth.for_this_run:
        for side in filter(None, (candidate, confirming, *others.values())):
            if not side.evidence_only:
                side.results = workspace.volatile
    here = {case.id: case.facts for case in this.evalset.cases} if before else {}
    return EvalsetRun(
        contest=contest,
        round=this,
        scorers=scorers,
        candidate=candidate,
        others=others,
        own_baseline=own,
        confirming=confirming,
        removed=tuple(removed(workspace, contest, this, before)),
        notes=tuple(news(before, here, watch=contest.watch)),
        gating=workspace.gating_judges(this.evalset.name, scorers, this.policy),
    )


def _timed(each: EvalsetRun) -> EvalsetRun:
    """`each`; its answers are streamed where something asks for the time to the first token."""
    rules = each.round.policy.rules
    asked = any(isinstance(rule, Latency) and rule.of == "first_token" for rule in rules)
    if asked or each.scorers.timed:
        for side in filter(None, (*each.sides, each.confirming)):
            side.timed = True
    return each


def _others(
    workspace: Workspace, contest: PromptComparison, this: EvalsetSelection, depth: SamplingPlan
) -> Iterator[tuple[str, Side]]:
    """What the candidate is compared with, by role."""
    named = {f"anchor {version}": each for version, each in contest.anchors.items()}
    if contest.baseline is not None:
        named = {"baseline": contest.baseline, **named}
    for role, contender in named.items():
        repeats = _repeats(workspace, contender, this)
        side = _side(workspace, contender, role, depth, repeats=repeats)
        if depth.fresh and side.unavailable is None:
            side.not_before, side.fresh = depth.start, True
        elif not workspace.provider(contender.target.model).deterministic:
            oldest = depth.now - timedelta(days=min(this.policy.baseline_max_age, CENTURIES))
            side.not_before = oldest.isoformat()
            if side.unavailable is not None:
                days = this.policy.baseline_max_age
                side.unavailable += f", or none of the last {days} days (`baseline_max_age`)"
        if not contest.watch:
            recalled(workspace, side, contender, this)
        yield role, side


def _repeats(workspace: Workspace, contender: ResolvedTarget, this: EvalsetSelection) -> int:
    """Baseline draws per case: one answer stands for all where it is always the same."""
    steady = workspace.provider(contender.target.model).deterministic
    return this.policy.baseline_repeats or (1 if steady else BASELINE_REPEATS)


def _side(
    workspace: Workspace, contender: ResolvedTarget, role: str, depth: SamplingPlan, *, repeats: int
) -> Side:
    model = contender.target.model
    return Side(
        name=contender.name,
        role=role,
        target=contender.target,
        templates=Templates(contender.target.prompt),
        documents=workspace.documents(contender.target),
        unavailable=contender.unavailable,
        results=workspace.results_of(model),
        records=records(workspace, model, at_base=contender.at_base),
        recorded_in=recorded_in(workspace, model, at_base=contender.at_base),
        purpose="gate" if role == "candidate" else "baseline",
        repeats=repeats,
        not_after=depth.end,
        pools=not workspace.provider(model).deterministic,
    )
