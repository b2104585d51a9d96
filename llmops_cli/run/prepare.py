"""Prepares the evalsets of prompt comparisons: their sides, checked and with their trials planned.

The candidate's trials are `gate` trials; those of the baseline and of an anchor are `baseline`
trials, made apart from the ones that let it pass (the winner's curse).

A file of recorded answers is used for both sides. So if the file changed since a version was
measured, the version's evidence is used instead; and if one record would answer both sides, the
baseline has no answer: a candidate is never compared with itself.

Code that may not run here is refused before any call: a pull request must not be able to allow its
own code. `core.ci` decides by the facts of the job and the project that are collected here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from shutil import which
from tempfile import TemporaryDirectory

from llmops_cli.core.ci import may_run, may_run_code, may_run_command
from llmops_cli.core.digest import digest
from llmops_cli.core.errors import Location, Refused, UnknownName
from llmops_cli.core.policy import Latency, gated_metrics
from llmops_cli.core.ports import Records
from llmops_cli.core.prompt import Model
from llmops_cli.core.redact import Redactor, sanitized
from llmops_cli.core.result import BASELINE, CANDIDATE, OWN_BASELINE, Completion, Purpose
from llmops_cli.engine.budget import tariff
from llmops_cli.gate.calibration import refuse_unfit_judges
from llmops_cli.gate.comparison import JUDGED_TRIALS, PASS_METRIC
from llmops_cli.plugins.catalog import command_of, open_records
from llmops_cli.project.paths import Unreadable
from llmops_cli.project.templates import documents_of
from llmops_cli.run.base_changes import removed_with_evalset
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison
from llmops_cli.run.endpoints import refuse_unknown_endpoints
from llmops_cli.run.evalset_run import CONFIRMING, EvalsetRun, plan_trials
from llmops_cli.run.reuse import MeasuredCase, evidence_store, measured_cases
from llmops_cli.run.scorers import BoundScorer, Scorers
from llmops_cli.run.selection import EvalOptions, ResolvedTarget
from llmops_cli.run.side import Side, SideSpec, TrialPlan
from llmops_cli.run.workspace import (
    Workspace,
    reading,
)

BASELINE_REPEATS = 3
CONFIRMATIONS = JUDGED_TRIALS - 1
CENTURIES = 100_000
"""Days: older than any trial, and within the calendar."""
FILE = "file"
"""The option that names the file of recorded answers."""
MAX_RECORDS = 2_000_000_000
"""Bytes of a file of records at another revision."""


def prepare(
    workspace: Workspace, comparisons: Sequence[PromptComparison], options: EvalOptions
) -> list[EvalsetRun]:
    """Return the evalsets of all comparisons, planned: equal requests are made once.

    Raises the first of `refusals`.
    """
    evalset_runs = unplanned(workspace, comparisons, options)
    for refusal in refusals(workspace, evalset_runs):
        raise refusal
    plan_trials(evalset_runs)
    if options.more_trials:
        _add_trials(workspace, evalset_runs, options)
        plan_trials(evalset_runs)
    return evalset_runs


def _add_trials(
    workspace: Workspace, evalset_runs: Iterable[EvalsetRun], options: EvalOptions
) -> None:
    """Plan more trials of every case than there are. Raises `Refused` where they decide nothing."""
    if options.selection.is_partial:
        raise Refused(
            "--more-trials is for every case: more trials of some of them would bias the result",
            hint="remove --case, --tag and --sample",
        )
    sides = [
        side
        for evalset_run in evalset_runs
        for side in (evalset_run.candidate, *evalset_run.others.values())
        if not (side.spec.evidence_only or workspace.provider(side.spec.target.model).deterministic)
    ]
    if not sides:
        raise Refused(
            "--more-trials adds nothing: the models give the same answer to the same request",
            hint="add cases instead",
        )
    for side in sides:
        known = max(map(len, side.plan.trial_numbers), default=0)
        side.plan.repeats = max(side.plan.repeats, known) + options.more_trials


def unplanned(
    workspace: Workspace, comparisons: Sequence[PromptComparison], options: EvalOptions
) -> list[EvalsetRun]:
    """Return the evalsets of all comparisons with their sides; nothing is rendered or looked up."""
    at_base = replace(workspace, project=workspace.rules)
    return [
        _Preparation(
            workspace=workspace,
            comparison=comparison,
            selection=selection,
            options=options,
            scorers=(at_base if selection.base_of else workspace).scorers(selection.evalset),
        ).evalset_run()
        for comparison in comparisons
        for selection in comparison.evalsets
    ]


def refuse_unfit(evalset_runs: list[EvalsetRun]) -> list[EvalsetRun]:
    """Return `evalset_runs`. Raises `Refused` if one of their judges may not gate."""
    for evalset_run in evalset_runs:
        for refusal in unfit_judges(evalset_run):
            raise refusal
    return evalset_runs


def refusals(workspace: Workspace, evalset_runs: Sequence[EvalsetRun]) -> Iterator[Refused]:
    """Yield why `evalset_runs` may not or cannot be measured, each with its line in the files.

    Code and commands that may not run here, requests that may not go where they would, rules for
    metrics that no scorer gives, and scorers that no answer of the candidate can pass.
    """
    try:
        trust = TrustCheck(workspace, (model for run in evalset_runs for model in run.models))
    except Refused as refusal:
        yield refusal
        return
    endpoints = partial(refuse_unknown_endpoints, workspace)
    for evalset_run in evalset_runs:
        scorers = evalset_run.scorers
        checks = [
            *(
                partial(check, [model])
                for model in evalset_run.models_to_vet
                for check in (trust.applications, trust.commands, endpoints)
            ),
            *(partial(trust.scorer, bound, path) for bound, path in scorers.code()),
            partial(_check_code, workspace, evalset_run),
            *(partial(_check_tools, workspace, evalset_run, bound) for bound in scorers.all),
            *(
                partial(_check_metric, workspace, evalset_run, metric)
                for metric in sorted(gated_metrics(evalset_run.selection.policy))
            ),
        ]
        yield from _raised(checks)


def unfit_judges(evalset_run: EvalsetRun) -> Iterator[Refused]:
    """Yield why judges of `evalset_run` may not gate, each with the line of its scorer."""
    policy = evalset_run.selection.policy
    yield from _raised(
        partial(refuse_unfit_judges, [judge], policy, evalset_run.scorers.place(judge.metric.label))
        for judge in evalset_run.gating
    )


def _raised(checks: Iterable[Callable[[], None]]) -> Iterator[Refused]:
    for check in checks:
        try:
            check()
        except Refused as refusal:
            yield refusal


def _check_metric(workspace: Workspace, evalset_run: EvalsetRun, metric: str) -> None:
    known = [PASS_METRIC, *evalset_run.scorers.by_label]
    if metric not in known:
        evalset = evalset_run.selection.evalset
        place = workspace.rules.rule_place(evalset, evalset_run.comparison.environment, metric)
        raise UnknownName("metric", metric, known).at(place)


def _check_code(workspace: Workspace, evalset_run: EvalsetRun) -> None:
    """Raise `Refused` if an application's code changed, and its identity says that it didn't.

    Its requests would be the baseline's, so that nothing would be compared. Changed code beside the
    code of scorers is theirs, unless it is beside the application's too.
    """
    ours, baseline = evalset_run.comparison.candidate.target, evalset_run.comparison.baseline
    if baseline is None or not workspace.provider(ours.model).code:
        return
    if evalset_run.comparison.watch or baseline.target.digest != ours.digest:
        return
    run, call = ours.model.options.get("run"), ours.model.options.get("call")
    words = map(str, run) if isinstance(run, (list, tuple)) else [str(call).partition(":")[0]]
    own = {PurePosixPath(word).parent for word in words if "/" in word or word.endswith(".py")}
    of_scorers = {PurePosixPath(path).parent for _, path in evalset_run.scorers.code()}
    changed = [
        file
        for file in workspace.changed_code
        if (parents := {*PurePosixPath(file).parents}) & own or not parents & of_scorers
    ]
    if changed:
        raise Refused(
            f"{_named(ours.model)} can't be compared with {baseline.name}: this change edits "
            f"{', '.join(changed[:3])}, and its `identity` doesn't name that",
            hint="list all code of the application under its `identity`, as `{files: [app/**]}`; "
            "merge other code first, by itself",
        ).at(ours.model.where)


def _check_tools(workspace: Workspace, evalset_run: EvalsetRun, bound: BoundScorer) -> None:
    """Raise `Refused` if a scorer waits for a tool call of a model that is given no tools."""
    target, spec = evalset_run.comparison.candidate.target, bound.spec
    kind = workspace.provider(target.model)
    if bound.kind.name != "tool_call" or spec.negate or target.prompt.tools:
        return
    if not (kind.application or kind.records):
        raise Refused(
            f"'{spec.label}' can never pass: the prompt '{target.prompt.name}' has no tools",
            hint="give the prompt `tools`, or remove the scorer",
        ).at(spec.where)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preparation:
    """One evalset of a comparison whose sides are prepared."""

    workspace: Workspace
    comparison: PromptComparison
    selection: EvalsetSelection
    options: EvalOptions
    scorers: Scorers

    def evalset_run(self) -> EvalsetRun:
        """Return the evalset with its sides; nothing is planned yet."""
        workspace, comparison, selection = self.workspace, self.comparison, self.selection
        measured = self._measured(comparison.baseline)
        cases = measured.get(selection.evalset.name, {})
        candidate = self._candidate_side(CANDIDATE, "gate", selection.evalset.repeats)
        candidate.plan.pools = candidate.plan.pools and not comparison.watch
        others = dict(self._compared_sides())
        if comparison.watch:
            assert comparison.baseline is not None
            self._use_evidence_only(others[BASELINE], comparison.baseline, cases)
        own = confirming = None
        if self.options.own_baseline:
            repeats = self._baseline_repeats(comparison.candidate.target.model)
            own = self._candidate_side(OWN_BASELINE, "baseline", repeats)
        if any(metric.judged and metric.counts for metric in self.scorers.metrics):
            confirming = self._candidate_side(CONFIRMING, "confirm", CONFIRMATIONS)
            confirming.plan.pools = False
        if any(kind.live for kind in self.scorers.kinds):
            for side in (candidate, *others.values()):
                side.plan.pools = False  # earlier trials have no latency: they would lack a score
        return EvalsetRun(
            comparison=comparison,
            selection=selection,
            scorers=self.scorers,
            candidate=candidate,
            others=others,
            own_baseline=own,
            confirming=confirming,
            removed=tuple(self._removed_cases(measured)),
            notes=tuple(self._case_changes(cases)),
            gating=workspace.gating_judges(selection.name, self.scorers, selection.policy),
        )

    def _candidate_side(self, role: str, purpose: Purpose, repeats: int) -> Side:
        """Return a side of the candidate: for the gate, its own baseline or to confirm a judge."""
        return self._side(self.comparison.candidate, role, purpose, repeats)

    def _compared_sides(self) -> Iterator[tuple[str, Side]]:
        """Yield the sides that the candidate is compared with, by role."""
        comparison = self.comparison
        targets = {f"anchor {name}": target for name, target in comparison.anchors.items()}
        if comparison.baseline is not None:
            targets = {BASELINE: comparison.baseline, **targets}
        for role, target in targets.items():
            model = target.target.model
            purpose, repeats = comparison.baseline_purpose, self._baseline_repeats(model)
            side = self._side(target, role, purpose, repeats)
            if not self.workspace.provider(model).deterministic:
                self._limit_age(side)
            if not comparison.watch:
                self._use_recorded_evidence(side, target)
            yield role, side

    def _baseline_repeats(self, model: Model) -> int:
        """Return the baseline trials per case: 1 where the answer is always the same."""
        usual = 1 if self.workspace.provider(model).deterministic else BASELINE_REPEATS
        return self.selection.policy.baseline_repeats or usual

    def _limit_age(self, side: Side) -> None:
        days = self.selection.policy.baseline_max_age
        oldest = self.options.now - timedelta(days=min(days, CENTURIES))
        side.plan.not_before = oldest.isoformat()
        if side.spec.unavailable is not None:
            why = f"{side.spec.unavailable}, or none of the last {days} days (`baseline_max_age`)"
            side.spec = replace(side.spec, unavailable=why)

    def _side(self, target: ResolvedTarget, role: str, purpose: Purpose, repeats: int) -> Side:
        workspace, model = self.workspace, target.target.model
        kind = workspace.provider(model)
        records, recorded_in = _open_records(workspace, target) if kind.records else (None, None)
        called = target.unavailable is None
        ignored = self.options.no_cache and called  # what can be called again
        results = workspace.volatile if ignored else workspace.results_of(model, called=called)
        spec = SideSpec(
            name=target.name,
            role=role,
            target=target.target,
            documents=documents_of(target.target, workspace.catalog),
            unavailable=target.unavailable,
            results=results,
            source=workspace.source_of(model),
            evidence=() if ignored else target.evidence,
            records=records,
            recorded_in=recorded_in,
            purpose=purpose,
            timed=self.scorers.timed
            or any(
                isinstance(rule, Latency) and rule.of == "first_token"
                for rule in self.selection.policy.rules
            ),
        )
        plan = TrialPlan(repeats=repeats, not_after=self.options.end, pools=not kind.deterministic)
        return Side(spec=spec, plan=plan)

    def _measured(self, target: ResolvedTarget | None) -> Mapping[str, Mapping[str, MeasuredCase]]:
        """Return the cases of a version's evidence, by evalset and id; none without a version."""
        if target is None or target.version is None:
            return {}
        return measured_cases(self.workspace, target.target.prompt.name, target.version)

    def _use_evidence_only(
        self, side: Side, running: ResolvedTarget, measured: Mapping[str, MeasuredCase]
    ) -> None:
        """Fill `side` from the evidence, whatever its age, with the requests that it measured."""
        assert running.version is not None
        if not side.plan.requests:
            side.make_requests(self.selection.cases)
        side.spec = replace(
            side.spec,
            evidence_only=True,
            results=evidence_store(self.workspace, running.target.prompt.name, running.version),
            records=None,  # what was recorded since is not what was measured
        )
        side.plan.pools = False
        side.plan.not_before = None
        for position, case in enumerate(self.selection.cases):
            before = measured.get(case.id)
            if before is not None and before.facts == case.facts:
                side.plan.requests[position] = before.request

    def _use_recorded_evidence(self, side: Side, target: ResolvedTarget) -> None:
        """Fill `side` from a version's evidence if its recorded answers changed since.

        Only if the evidence has every case. Otherwise the file is used, unless it answers the
        candidate as well (`EvalsetRun.plan`).
        """
        if side.spec.records is None or target.version is None:
            return
        measured = self._measured(target).get(self.selection.name, {})
        cases = self.selection.cases
        side.make_requests(cases)
        before = [measured.get(case.id) for case in cases]
        whole = all(
            old and old.facts == case.facts for old, case in zip(before, cases, strict=True)
        )
        requests = zip(before, side.plan.requests, strict=True)
        if whole and any(old and old.request != request for old, request in requests):
            self._use_evidence_only(side, target, measured)

    def _removed_cases(self, measured: Mapping[str, Collection[str]]) -> Iterator[str]:
        """Yield the removed cases: those in the baseline's evidence or at the base that are gone.

        Those of removed evalsets are reported with the first evalset of the comparison.
        """
        comparison, evalset = self.comparison, self.selection.evalset
        if comparison.baseline is None:
            return
        known = dict.fromkeys((*measured.get(evalset.name, ()), *comparison.base.ids(evalset.name)))
        here = {case.id for case in evalset.cases} if known else {}
        yield from (case for case in known if case not in here)
        own = comparison.baseline.target.prompt.name == comparison.prompt
        if own and self.selection is comparison.evalsets[0]:
            names = dict.fromkeys((*comparison.base.evalsets, *measured))
            before = {
                name: dict.fromkeys((*comparison.base.ids(name), *measured.get(name, ())))
                for name in names
            }
            yield from removed_with_evalset(self.workspace.project, comparison.prompt, before)

    def _case_changes(self, measured: Mapping[str, MeasuredCase]) -> Iterator[str]:
        """Say how many cases were added and edited since the baseline's evidence."""
        if not measured:
            return
        cases = self.selection.evalset.cases
        added = sum(case.id not in measured for case in cases)
        known = (case for case in cases if case.id in measured)
        edited = sum(measured[case.id].facts != case.facts for case in known)
        tail = ": not part of the watch" if self.comparison.watch else ""
        for count, what in ((added, "added"), (edited, "edited")):
            if count:
                plural = "s" if count != 1 else ""
                yield f"{count} case{plural} {what} since the baseline's evidence{tail}"


def as_called(model: Model, redact: Redactor) -> Callable[[Completion], Completion]:
    """Return the function that turns a recorded answer of `model` into a completion.

    The completion has a price and a time, and no secrets.
    """
    price = tariff(model)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")

    def enter(completion: Completion) -> Completion:
        cost, usage = completion.cost, completion.usage
        if cost is None and price is not None and usage is not None:
            cost = price(usage)
        return sanitized(replace(completion, cost=cost, at=now), redact)

    return enter


def _open_records(workspace: Workspace, target: ResolvedTarget) -> tuple[Records, str]:
    """Open the recorded answers of a target's model, and name them.

    A target at the base revision is answered by the file as it was there, if it changed since.
    """
    model, root = target.target.model, workspace.root
    before = _records_at_base(workspace, model) if target.at_base else None
    if before is not None:
        root = Path(workspace.stack.enter_context(TemporaryDirectory(prefix="llmops-")))
        file = root / str(model.options[FILE])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(before)
    open_file = open_records(workspace.provider(model))
    try:
        records = open_file(model, root, as_called(model, workspace.redact))
    except Refused as error:
        error.at(model.where)
        raise
    name = digest("llmops/records/v1", [dict(model.options), before is not None])
    return workspace.stack.enter_context(records), name


def _records_at_base(workspace: Workspace, model: Model) -> bytes | None:
    """Return the file of records of `model` at the base revision; None: it has not changed."""
    path = model.options.get(FILE)
    if workspace.base is None or not isinstance(path, str):
        return None
    with reading(workspace.base):
        before = workspace.rules.source.read(path, limit=MAX_RECORDS)
    try:
        now = workspace.project.source.read(path, limit=MAX_RECORDS)
    except Unreadable:
        return before
    return None if now == before else before


class TrustCheck:
    """Refuses code and commands that may not run in this job."""

    def __init__(self, workspace: Workspace, models: Iterable[Model]) -> None:
        """Read what CI job this is. Raises `Refused` if nothing may run in it.

        `models` are all that may be called: answers that are replayed need no secret.
        """
        self._workspace = workspace
        self._trusted = workspace.rules.trust
        self._ci, self._secrets = workspace.ci, workspace.has_secrets
        replaying = all(workspace.provider(model).offline for model in models)
        why = may_run(self._ci, replaying=replaying)
        if why is not None:
            raise Refused(why)

    def scorer(self, bound: BoundScorer, path: str) -> None:
        """Raise `Refused` if the code of a scorer, which is in the file `path`, may not run."""
        message = f"the scorer {bound.label!r} may not run"
        _refuse(self._code(path), message, path, place=bound.spec.where)

    def applications(self, models: Iterable[Model]) -> None:
        """Raise `Refused` if one of `models` is an application that may not or cannot run.

        `call` names a function by its file, `run` a program with its arguments.
        """
        for model in models:
            if not self._workspace.provider(model).code:
                continue
            run = model.options.get("run")
            command = [str(word) for word in run] if isinstance(run, (list, tuple)) else []
            code = " ".join(command) or str(model.options.get("call")).partition(":")[0]
            why = self._command(command) if command else self._code(code)
            _refuse(why, f"{_named(model)} may not run", code, place=model.where)
            path = self._workspace.environ.get("PATH")
            if command and "/" not in command[0] and not which(command[0], path=path):
                raise Refused(
                    f"{_named(model)}: there is no program {command[0]!r} on the PATH",
                    hint="install it, or write the path of a program of the project",
                ).at(model.where)

    def commands(self, models: Iterable[Model]) -> None:
        """Raise `Refused` if one of `models` starts a command that may not run."""
        for model in models:
            if command := command_of(self._workspace.provider(model), model):
                why = self._command(command)
                message = f"{_named(model)} may not be started"
                _refuse(why, message, " ".join(command), place=model.where)

    def _code(self, path: str) -> str | None:
        return may_run_code(path, trusted=self._trusted, ci=self._ci, secrets=self._secrets)

    def _command(self, command: Sequence[str]) -> str | None:
        return may_run_command(command, trusted=self._trusted, ci=self._ci, secrets=self._secrets)


def _refuse(why: str | None, message: str, entry: str, *, place: Location | None) -> None:
    if why is not None:
        hint = f"a maintainer lists it in llmops.yaml: `trust: [{entry}]`"
        raise Refused(f"{message}: {why}", hint=hint).at(place)


def _named(model: Model) -> str:
    return f"the model {model.name!r}" if model.where else repr(model.name)
