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
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

from llmops_cli.core.ci import ci_context, may_run, may_run_code, may_run_command
from llmops_cli.core.digest import Json, digest
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import Latency, Policy, gated_metrics
from llmops_cli.core.ports import Records, TrialKey
from llmops_cli.core.prompt import Model
from llmops_cli.core.redact import Redactor, sanitized
from llmops_cli.core.result import BASELINE, CANDIDATE, OWN_BASELINE, Completion, Purpose
from llmops_cli.engine.budget import tariff
from llmops_cli.gate.calibration import refuse_unfit_judges
from llmops_cli.gate.comparison import JUDGED_TRIALS, PASS_METRIC
from llmops_cli.plugins.catalog import open_records
from llmops_cli.project.paths import Unreadable
from llmops_cli.run.base_changes import removed_with_evalset
from llmops_cli.run.comparison import EvalsetSelection, PromptComparison
from llmops_cli.run.evalset_run import CONFIRMING, EvalsetRun
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.selection import EvalOptions, ResolvedTarget
from llmops_cli.run.side import Side, SideSpec, TrialPlan
from llmops_cli.run.workspace import (
    MeasuredCase,
    Workspace,
    evidence_store,
    github_event,
    measured_cases,
    measured_evalsets,
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

    Raises `Refused` if code or commands may not run here.
    """
    evalset_runs = [
        _evalset_run(workspace, comparison, selection, options)
        for comparison in comparisons
        for selection in comparison.evalsets
    ]
    trust = TrustCheck(workspace, (model for run in evalset_runs for model in run.models))
    for evalset_run in evalset_runs:
        trust.applications(evalset_run.models_to_vet)
        trust.commands(evalset_run.models_to_vet)
        trust.scorers(evalset_run.scorers)
        vet_metrics(evalset_run.scorers, evalset_run.selection.policy)
    requested: set[TrialKey] = set()
    for evalset_run in evalset_runs:
        evalset_run.plan(requested)
    return evalset_runs


def refuse_unfit(evalset_runs: list[EvalsetRun]) -> list[EvalsetRun]:
    """Return `evalset_runs` with the calibrations of their judges. Raises `Refused` if one may not
    gate.
    """
    for evalset_run in evalset_runs:
        refuse_unfit_judges(evalset_run.gating, evalset_run.selection.policy)
    return evalset_runs


def _evalset_run(
    workspace: Workspace,
    comparison: PromptComparison,
    selection: EvalsetSelection,
    options: EvalOptions,
) -> EvalsetRun:
    scorers = workspace.scorers(selection.evalset)
    rules = selection.policy.rules
    timed = scorers.timed or any(
        isinstance(rule, Latency) and rule.of == "first_token" for rule in rules
    )
    sides = _Sides(workspace, selection, options, timed=timed)
    candidate = sides.of_candidate(comparison, CANDIDATE, "gate", selection.evalset.repeats)
    candidate.plan.pools = candidate.plan.pools and not comparison.watch
    measured = _cases_before(workspace, comparison, selection)
    others = dict(sides.compared(comparison))
    if comparison.watch:
        assert comparison.baseline is not None
        _use_evidence_only(workspace, others[BASELINE], comparison.baseline, selection, measured)
    own = None
    if options.own_baseline:
        repeats = sides.baseline_repeats(comparison.candidate)
        own = sides.of_candidate(comparison, OWN_BASELINE, "baseline", repeats)
    confirming = None
    if any(metric.judged and metric.counts for metric in scorers.metrics):
        confirming = sides.of_candidate(comparison, CONFIRMING, "confirm", CONFIRMATIONS)
        confirming.plan.pools = False
    if any(kind.live for kind in scorers.kinds):
        for side in (candidate, *others.values()):
            side.plan.pools = False  # earlier trials have no latency: they would lack a score
    if options.discards_answers:
        for side in filter(None, (candidate, confirming, *others.values())):
            if not side.spec.evidence_only:
                side.spec = replace(side.spec, results=workspace.volatile)
    facts = {case.id: case.facts for case in selection.evalset.cases} if measured else {}
    return EvalsetRun(
        comparison=comparison,
        selection=selection,
        scorers=scorers,
        candidate=candidate,
        others=others,
        own_baseline=own,
        confirming=confirming,
        removed=tuple(_removed_cases(workspace, comparison, selection, measured)),
        notes=tuple(_case_changes(measured, facts, watch=comparison.watch)),
        gating=workspace.gating_judges(selection.evalset.name, scorers, selection.policy),
    )


class _Sides:
    """Creates the sides of one evalset."""

    def __init__(
        self,
        workspace: Workspace,
        selection: EvalsetSelection,
        options: EvalOptions,
        *,
        timed: bool,
    ) -> None:
        self._workspace = workspace
        self._selection = selection
        self._options = options
        self._timed = timed

    def of_candidate(
        self, comparison: PromptComparison, role: str, purpose: Purpose, repeats: int
    ) -> Side:
        """Return a side of the candidate: for the gate, its own baseline or to confirm a judge."""
        side = self._side(comparison.candidate, role, purpose, repeats)
        if self._options.fresh:
            side.plan.not_before, side.plan.fresh = self._options.start, True
        return side

    def compared(self, comparison: PromptComparison) -> Iterator[tuple[str, Side]]:
        """Yield the sides that the candidate is compared with, by role."""
        targets = {f"anchor {name}": target for name, target in comparison.anchors.items()}
        if comparison.baseline is not None:
            targets = {BASELINE: comparison.baseline, **targets}
        for role, target in targets.items():
            side = self._side(target, role, "baseline", self.baseline_repeats(target))
            if self._options.fresh and side.spec.unavailable is None:
                side.plan.not_before, side.plan.fresh = self._options.start, True
            elif not self._deterministic(target.target.model):
                self._limit_age(side)
            if not comparison.watch:
                _use_recorded_evidence(self._workspace, side, target, self._selection)
            yield role, side

    def baseline_repeats(self, target: ResolvedTarget) -> int:
        """Return the baseline trials per case: 1 where the answer is always the same."""
        usual = 1 if self._deterministic(target.target.model) else BASELINE_REPEATS
        return self._selection.policy.baseline_repeats or usual

    def _limit_age(self, side: Side) -> None:
        days = self._selection.policy.baseline_max_age
        oldest = self._options.now - timedelta(days=min(days, CENTURIES))
        side.plan.not_before = oldest.isoformat()
        if side.spec.unavailable is not None:
            why = f"{side.spec.unavailable}, or none of the last {days} days (`baseline_max_age`)"
            side.spec = replace(side.spec, unavailable=why)

    def _side(self, target: ResolvedTarget, role: str, purpose: Purpose, repeats: int) -> Side:
        workspace, model = self._workspace, target.target.model
        recorded = workspace.provider(model).records is not None
        spec = SideSpec(
            name=target.name,
            role=role,
            target=target.target,
            documents=workspace.documents(target.target),
            unavailable=target.unavailable,
            results=workspace.results_of(model),
            records=_records(workspace, model, at_base=target.at_base) if recorded else None,
            recorded_in=_records_name(workspace, model, target) if recorded else None,
            purpose=purpose,
            timed=self._timed,
        )
        plan = TrialPlan(
            repeats=repeats, not_after=self._options.end, pools=not self._deterministic(model)
        )
        return Side(spec=spec, plan=plan)

    def _deterministic(self, model: Model) -> bool:
        return self._workspace.provider(model).deterministic


def _use_evidence_only(
    workspace: Workspace,
    side: Side,
    running: ResolvedTarget,
    selection: EvalsetSelection,
    measured: Mapping[str, MeasuredCase],
) -> None:
    """Fill `side` from the evidence, whatever its age, with the requests that it measured."""
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


def _use_recorded_evidence(
    workspace: Workspace, side: Side, target: ResolvedTarget, selection: EvalsetSelection
) -> None:
    """Fill `side` from a version's evidence if its recorded answers changed since.

    Only if the evidence has every case. Otherwise the file is used, unless it answers the candidate
    as well (`EvalsetRun.plan`).
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
        _use_evidence_only(workspace, side, target, selection, measured)


def _cases_before(
    workspace: Workspace, comparison: PromptComparison, selection: EvalsetSelection
) -> Mapping[str, MeasuredCase]:
    """Return the cases of the baseline's evidence, by id."""
    baseline = comparison.baseline
    if baseline is None or baseline.version is None:
        return {}
    name = baseline.target.prompt.name
    return measured_cases(workspace, name, baseline.version, selection.evalset.name)


def _removed_cases(
    workspace: Workspace,
    comparison: PromptComparison,
    selection: EvalsetSelection,
    measured: Mapping[str, MeasuredCase],
) -> Iterator[str]:
    """Yield the removed cases: those in the baseline's evidence or at the base that are gone.

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


def _case_changes(
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


def _records(workspace: Workspace, model: Model, *, at_base: bool) -> Records:
    """Open the recorded answers of `model`.

    `at_base`: as they stood at the base revision, where they have changed since.
    """
    before = _records_at_base(workspace, model) if at_base else None
    root = workspace.root
    if before is not None:
        root = _in_folder(workspace, str(model.options[FILE]), before)
    open_file = open_records(workspace.provider(model))
    return workspace.stack.enter_context(open_file(model, root, as_called(model, workspace.redact)))


def _records_name(workspace: Workspace, model: Model, target: ResolvedTarget) -> str:
    """Return what names the records that `model` is answered from."""
    other = target.at_base and _records_at_base(workspace, model) is not None
    return digest("llmops/records/v1", [dict(model.options), other])


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


def _in_folder(workspace: Workspace, path: str, content: bytes) -> Path:
    """Return a folder, for the length of the command, in which `path` holds `content`."""
    folder = Path(workspace.stack.enter_context(TemporaryDirectory(prefix="llmops-")))
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)
    return folder


class TrustCheck:
    """Refuses code and commands that may not run in this job."""

    def __init__(self, workspace: Workspace, models: Iterable[Model]) -> None:
        """Read what CI job this is. Raises `Refused` if nothing may run in it.

        `models` are all that may be called: answers that are replayed need no secret.
        """
        environ = workspace.environ
        self._workspace = workspace
        self._trusted = workspace.rules.trust
        self._ci = ci_context(environ, github_event(environ))
        self._secrets = bool(Redactor.of(environ))
        replaying = all(workspace.provider(model).offline for model in models)
        why = may_run(self._ci, replaying=replaying)
        if why is not None:
            raise Refused(why)

    def scorers(self, scorers: Scorers) -> None:
        """Raise `Refused` if one of `scorers` is code that may not run."""
        for kind, path in scorers.code():
            self._refuse(self._code(path), f"the scorer {kind!r} may not run", path)

    def applications(self, models: Iterable[Model]) -> None:
        """Raise `Refused` if one of `models` is an application that may not or cannot run.

        `call` names a function by its file, `run` a program with its arguments.
        """
        for model in models:
            if not self._workspace.provider(model).code:
                continue
            command = [str(word) for word in _words(model.options.get("run"))]
            code = " ".join(command) or str(model.options.get("call")).partition(":")[0]
            why = self._command(command) if command else self._code(code)
            self._refuse(why, f"{_named(model)} may not run", code)
            path = self._workspace.environ.get("PATH")
            if command and "/" not in command[0] and not which(command[0], path=path):
                raise Refused(
                    f"{_named(model)}: there is no program {command[0]!r} on the PATH",
                    hint="install it, or write the path of a program of the project",
                )

    def commands(self, models: Iterable[Model]) -> None:
        """Raise `Refused` if one of `models` starts a command that may not run."""
        for model, command in self._workspace.commands(models):
            why = self._command(command)
            self._refuse(why, f"{_named(model)} may not be started", " ".join(command))

    def _code(self, path: str) -> str | None:
        return may_run_code(path, trusted=self._trusted, ci=self._ci, secrets=self._secrets)

    def _command(self, command: Sequence[str]) -> str | None:
        return may_run_command(command, trusted=self._trusted, ci=self._ci, secrets=self._secrets)

    def _refuse(self, why: str | None, message: str, entry: str) -> None:
        if why is not None:
            hint = f"a maintainer lists it in llmops.yaml: `trust: [{entry}]`"
            raise Refused(f"{message}: {why}", hint=hint)


def vet_metrics(scorers: Scorers, policy: Policy) -> None:
    """Raise `UnknownName` if a rule of `policy` asks for a metric that no scorer gives."""
    known = [PASS_METRIC, *(metric.label for metric in scorers.metrics)]
    for metric in sorted(gated_metrics(policy)):
        if metric not in known:
            raise UnknownName("metric", metric, known)


def _named(model: Model) -> str:
    return f"{model.where}: the model {model.name!r}" if model.where else repr(model.name)


def _words(value: Json) -> Sequence[Json]:
    return value if isinstance(value, (list, tuple)) else ()
