"""What a report says of the judges that gate: who is unknown, and what is known of the others.

From a run to its report: which cases are worth a reader's time, and the figures around them.

Only shown cases become objects and only their texts are read back from the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from math import isnan
from urllib.parse import urlsplit

import numpy as np

from llmops_cli import __version__
from llmops_cli.core.case import Case
from llmops_cli.core.case_result import Metric
from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import Anchor, NoWorse, gated_metrics
from llmops_cli.core.report import (
    Change,
    EvalsetReport,
    MetricSummary,
    PromptReport,
    Report,
    ShownCase,
    ShownScore,
    ShownTrial,
    SideSummary,
)
from llmops_cli.core.result import Failure, FailureKind
from llmops_cli.core.verdict import Decision, Verdict
from llmops_cli.gate.calibration import corrected
from llmops_cli.gate.comparison import PASS_METRIC, Comparison, SideTotals
from llmops_cli.gate.decide import slices
from llmops_cli.gate.judges import GatingJudge
from llmops_cli.gate.wording import percent, points_up
from llmops_cli.run.case_results import MeasuredTrial, measured
from llmops_cli.run.comparison import PromptComparison
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.run_loop import Run
from llmops_cli.run.side import Side


def judged(each: EvalsetRun, columns: Comparison) -> Iterator[str]:
    """Everything about the judges of one evalset that a reader must know."""
    yield from _by_itself(each)
    yield from _status(each.gating)
    yield from _drifted(each)
    for one in each.gating:
        yield from _corrected(one, columns)
    yield from _scaled(each)


def _by_itself(each: EvalsetRun) -> Iterator[str]:
    """A model is a lenient judge of its own answers."""
    model = each.candidate.target.model
    for bound in each.scorers.all:
        judge = bound.judge and bound.judge.target.model
        if judge and (judge.provider, judge.model) == (model.provider, model.model):
            yield f"{bound.label} is judged by the model under test, {model.provider}/{model.model}"


def _status(gating: Sequence[GatingJudge]) -> Iterator[str]:
    unknown = [each for each in gating if each.calibration is None]
    if unknown:
        yield (
            f"judged by an uncalibrated model: {', '.join(each.metric.label for each in unknown)}; "
            f"accuracy unknown (llmops calibrate {unknown[0].address})"
        )
    for each in gating:
        found = each.calibration
        j = None if found is None else found.figures.j
        if found is not None and j is not None:
            yield (
                f"the judge {each.metric.label} is calibrated on {found.counts.n:,} labels: "
                f"J {j.value:.2f} (90 % interval {j.lower:.2f} to {j.upper:.2f}), so a loss of "
                f"5 points shows as {5 * max(0.0, j.value):.1f}"
            )


def _drifted(each: EvalsetRun) -> Iterator[str]:
    """Judges whose name another model answers to than the one that was calibrated."""
    for one in each.gating:
        label, known = one.metric.label, one.calibration
        served = {who for side in each.sides for who in side.judges.get(label, ())}
        if known is not None and known.served and served - set(known.served):
            yield (
                f"the judge {label} was calibrated as {' and '.join(known.served)}, and "
                f"{' and '.join(sorted(served))} judged now: llmops calibrate {one.address}"
            )


def _corrected(one: GatingJudge, columns: Comparison) -> Iterator[str]:
    """The pass rate behind what a calibrated judge says of the candidate, its errors taken out.

    Where a case has several draws, its passes are as many cases as they are on average.
    """
    known, scores = one.calibration, columns.scores.get(one.metric.label)
    if known is None or known.graded or scores is None or one.metric.paired:
        return
    means = scores.candidate.mean()
    means = means[~np.isnan(means)]
    passed = round(float(means.sum()))
    true = corrected(passed, len(means), known.counts)
    if true is not None:
        yield (
            f"{one.metric.label} passes {percent(passed / len(means))} of the candidate's cases; "
            f"corrected for its errors that is {percent(true.value)} "
            f"(95 % interval {percent(true.lower)} to {percent(true.upper)})"
        )


def _scaled(each: EvalsetRun) -> Iterator[str]:
    """Margins that are smaller than the policy says, because they are seen through a judge."""
    asked, real = each.round.policy, each.policy
    for rule, applied in zip(asked.rules, real.rules, strict=True):
        if not isinstance(rule, (NoWorse, Anchor)) or not isinstance(applied, (NoWorse, Anchor)):
            continue
        margin = asked.margin if rule.margin is None else rule.margin
        if applied.margin is not None and applied.margin != margin:
            yield (
                f"scale_margin: a loss of {points_up(margin)} points shows as "
                f"{points_up(applied.margin)} on {rule.metric}: that is the margin"
            )


SHOWN = 50
"""Cases shown per evalset."""
WORST_FIRST: tuple[ExitCode, ...] = (
    ExitCode.FAILED,
    ExitCode.INCOMPLETE,
    ExitCode.INCONCLUSIVE,
    ExitCode.DONE,
)


def report(run: Run, *, partial: str | None = None, shown: int = SHOWN) -> Report:
    """Everything a reader wants of `run`, at most `shown` cases per evalset."""
    contests = list({id(each.contest): each.contest for each in run.pairings}.values())
    code = exit_code(run.verdicts.values())
    return Report(
        prompts=tuple(_prompt(run, contest, shown) for contest in contests),
        exit_code=ExitCode.INTERRUPTED if run.interrupted else code,
        calls=run.calls,
        reused=run.reused,
        cost=run.cost,
        partial=partial,
        interrupted=run.interrupted,
        spent=dict(run.spent),
        notes=tuple(run.notes),
        llmops=__version__,
    )


def exit_code(verdicts: Iterable[Verdict]) -> ExitCode:
    """The worst of several verdicts' exit codes: FAIL before what could not be told."""
    codes = {verdict.exit_code for verdict in verdicts}
    return next((code for code in WORST_FIRST if code in codes), ExitCode.DONE)


def _prompt(run: Run, contest: PromptComparison, shown: int) -> PromptReport:
    verdict = run.verdicts[contest.candidate.name]
    baseline = contest.baseline
    where = f" ({contest.environment})" if contest.against_environment else ""
    return PromptReport(
        prompt=contest.prompt,
        candidate=contest.candidate.name,
        baseline=None if baseline is None else f"{baseline.name}{where}",
        verdict=verdict,
        evalsets=tuple(_evalset(each, columns, shown) for each, columns in run.of(contest)),
        next_steps=tuple(_next_steps(contest, verdict, run)),
        environment=contest.environment if contest.against_environment else None,
    )


def _evalset(each: EvalsetRun, columns: Comparison, shown: int) -> EvalsetReport:
    noted = changes(columns, each.round.evalset.retired)
    picked = dict(list(noted.items())[:shown])
    baseline = each.others.get("baseline")
    return EvalsetReport(
        evalset=each.round.evalset.name,
        cases=len(each.round.cases),
        repeats=each.candidate.repeats,
        candidate=_side(each.candidate, columns.candidate),
        baseline=None if baseline is None else _side(baseline, columns.baseline),
        metrics=tuple(_metrics(each, columns)),
        slices=slices(columns),
        shown=tuple(_shown(each, columns, picked)),
        hidden=len(noted) - len(picked),
        changes=Counter(noted.values()),
        judges=tuple(one.summary() for one in each.gating),
        notes=tuple(_notes(each, columns)),
    )


def changes(columns: Comparison, retired: Container[str] = ()) -> dict[str, Change]:
    """Why each case is worth showing, worst first; a case is shown once."""
    kinds: list[tuple[Change, tuple[str, ...]]] = [
        ("critical", columns.critical_failed_cases()),
        ("regressed", columns.regressed_cases()),
        ("unmeasured", columns.unmeasured_cases()),
        ("removed", tuple(case for case in columns.removed_cases() if case not in retired)),
        ("known_passing", columns.known_passing_cases()),
        ("improved", columns.improved_cases()),
        ("failing", columns.failing_cases()),
    ]
    noted: dict[str, Change] = {}
    for change, cases in kinds:
        for case in cases:
            noted.setdefault(case, change)
    return noted


def _shown(each: EvalsetRun, columns: Comparison, picked: dict[str, Change]) -> Iterator[ShownCase]:
    here = len(each.round.cases)
    places = {case: columns.cases[case] for case in picked}
    cases = {case: (each.round.cases[at], at) for case, at in places.items() if at < here}
    positions = [at for _, at in cases.values()]
    ours = _trials(each, each.candidate, positions)
    baseline = each.others.get("baseline")
    theirs = {} if baseline is None else _trials(each, baseline, positions)
    for case_id, change in picked.items():
        if case_id not in cases:
            yield ShownCase(
                case=case_id, change=change, inputs={}, expected=None, candidate=None, baseline=None
            )
            continue
        case, at = cases[case_id]
        share = columns.share(case_id)
        yield ShownCase(
            case=case_id,
            change=change,
            inputs=case.inputs,
            expected=case.expected,
            candidate=_telling(ours[at], each, case, failing=change != "improved"),
            baseline=_telling(theirs.get(at, []), each, case, failing=change == "improved"),
            candidate_passed=share.candidate,
            baseline_passed=share.baseline,
            tags=case.tags,
            critical=case.critical,
            known_failing=case.known_failing,
        )


def _trials(each: EvalsetRun, side: Side, positions: list[int]) -> dict[int, list[MeasuredTrial]]:
    found = measured(side, each.round.cases, positions, each.scorers)
    return dict(zip(positions, found, strict=True))


def _telling(
    trials: list[MeasuredTrial], each: EvalsetRun, case: Case, *, failing: bool
) -> ShownTrial | None:
    """The first trial that shows what the case is listed for, or else the first there is."""
    metrics = {metric.label: metric for metric in each.scorers.metrics}
    due = [bound.label for bound in each.scorers.due(case)]
    paired = [bound.label for bound in each.scorers.paired]
    shown = [
        _trial(
            trial, [metrics[label] for label in (*due, *(x for x in paired if x in trial.scores))]
        )
        for trial in trials
    ]
    telling = (trial for trial in shown if failing == _fails(trial))
    return next(telling, shown[0] if shown else None)


def _fails(trial: ShownTrial) -> bool:
    return trial.failure is not None or any(
        score.passed is not True for score in trial.scores if not score.advisory
    )


def _trial(trial: MeasuredTrial, metrics: list[Metric]) -> ShownTrial:
    outcome = trial.outcome
    if isinstance(outcome, Failure):
        return ShownTrial(text=None, failure=outcome.message)
    return ShownTrial(
        text=outcome.text,
        finish_reason=outcome.finish_reason,
        tool_calls=[[call.name, call.arguments] for call in outcome.tool_calls] or None,
        scores=tuple(shown_score(trial, metric) for metric in metrics),
    )


def shown_score(trial: MeasuredTrial, metric: Metric) -> ShownScore:
    """What `metric` makes of a trial, or why it makes nothing of it."""
    found = trial.scores.get(metric.label)
    return ShownScore(
        label=metric.label,
        value=None if found is None else found.value,
        passed=None if found is None else metric.passes(found.value),
        reason=trial.unscored.get(metric.label, "not scored") if found is None else found.reason,
        advisory=not metric.counts,
    )


def _side(side: Side, totals: SideTotals) -> SideSummary:
    model = side.target.model
    waits, firsts = np.sort(totals.latencies), np.sort(totals.first_tokens)
    return SideSummary(
        name=side.name,
        target=side.target.digest,
        model=f"{model.provider}/{model.model}",
        planned=side.planned,
        measured=side.planned - len(side.failures),
        called=side.called,
        failures=dict(totals.failures),
        cause=_cause(side),
        unscored=totals.unscored,
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        cost=totals.total_cost,
        latency_p50=float(np.quantile(waits, 0.5)) if len(waits) else None,
        latency_p95=float(np.quantile(waits, 0.95)) if len(waits) else None,
        first_token_p50=float(np.quantile(firsts, 0.5)) if len(firsts) else None,
        first_token_p95=float(np.quantile(firsts, 0.95)) if len(firsts) else None,
        served_models=totals.served_models,
    )


def _cause(side: Side) -> str:
    """Say what made most calls of a side fail; why no call was made, where none was."""
    kinds = Counter(failure.kind for failure in side.failures.values())
    # What was not attempted is a consequence, and names its cause a second time.
    if any(kind is not FailureKind.NOT_ATTEMPTED for kind in kinds):
        del kinds[FailureKind.NOT_ATTEMPTED]
    if not kinds:
        return ""
    leading = kinds.most_common(1)[0][0]
    failure = next(each for each in side.failures.values() if each.kind is leading)
    if leading is not FailureKind.AUTHENTICATION:
        return failure.message
    model = side.target.model
    host = urlsplit(model.base_url or "").netloc or f"{model.provider}/{model.model}"
    status = f" ({failure.status})" if failure.status else ""
    return f"the API key was rejected{status} by {host}"


def _metrics(each: EvalsetRun, columns: Comparison) -> Iterator[MetricSummary]:
    parts = {bound.label: bound.kind.part for bound in each.scorers.all}
    for label, scores in columns.scores.items():
        ours, theirs = scores.candidate.mean(), scores.baseline.mean()
        yield MetricSummary(
            label=label,
            gated=label == PASS_METRIC or not (scores.advisory or scores.paired),
            paired=scores.paired,
            candidate=_mean(ours),
            baseline=_mean(theirs),
            candidate_n=int(np.count_nonzero(~np.isnan(ours))),
            baseline_n=int(np.count_nonzero(~np.isnan(theirs))),
            part=parts.get(label),
        )


def _mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else float("nan")
    return None if isnan(mean) else mean


def _notes(each: EvalsetRun, columns: Comparison) -> Iterator[str]:
    for side in each.sides:
        yield from _causes(side)
    yield from each.contest.notes
    yield from each.notes
    known = int(np.count_nonzero(columns.known_failing))
    if known:
        yield f"{known} known-failing case{'s' if known != 1 else ''} outside the gate"
    gated = {PASS_METRIC, *gated_metrics(each.policy)} & set(columns.scores)
    ungated = int(np.count_nonzero(~np.any([columns.scores[key].due for key in gated], axis=0)))
    if ungated:
        yield f"{ungated} cases have no gating scorer: they decide nothing"
    yield from judged(each, columns)


def _causes(side: Side) -> Iterator[str]:
    """Why draws failed or got no score: each kind once, in the words of its first."""
    counts = Counter(failure.kind for failure in side.failures.values())
    said = {failure.kind: failure.message for failure in reversed(side.failures.values())}
    for kind, count in counts.most_common():
        trials = "trial" if count == 1 else "trials"
        yield f"{count:,} {side.role} {trials} not measured: {said[kind]}"
    whys: dict[str, list[str]] = {}
    for unscored in side.unscored.values():
        for label, why in unscored.items():
            whys.setdefault(label, []).append(why)
    for label, each in whys.items():
        answers = "answer" if len(each) == 1 else "answers"
        yield f"{len(each):,} {side.role} {answers} not scored by {label}: {each[0]}"


def _after_pass(contest: PromptComparison, *, partial: bool) -> Iterator[str]:
    name, version, baseline = contest.prompt, contest.candidate.version, contest.baseline
    unchanged = baseline and baseline.target.digest == contest.candidate.target.digest
    if partial:
        yield f"{contest.again}   # every case: a partial run is no evidence"
    elif unchanged or not contest.against_environment:
        return
    elif contest.borrowed:
        yield f"name the model in {name} and release it: a version freezes both"
    elif version is None:
        yield f"llmops release {name}   # then measure and promote it"
    else:
        yield f"llmops promote {name}@v{version} --to {contest.environment} -m 'why'"


def _lasting(contest: PromptComparison, run: Run) -> bool:
    """Whether something failed that asking again does not mend."""
    sides = (side for each, _ in run.of(contest) for side in each.sides)
    return any(not failure.retryable for side in sides for failure in side.failures.values())


def _next_steps(contest: PromptComparison, verdict: Verdict, run: Run) -> Iterator[str]:
    name = contest.prompt
    if run.interrupted:
        yield "run the same command again: everything that was answered is kept"
        return
    match verdict.decision:
        case Decision.PASS:
            yield from _after_pass(contest, partial=run.partial is not None)
        case Decision.FAIL:
            stay = contest.borrowed and contest.baseline
            first = f"stay with {stay.name}" if stay else f"fix {name}"
            yield f"{first}, or look closer: {contest.again} --verbose"
        case Decision.INCOMPLETE:
            mend = "mend what the notes say, then " if _lasting(contest, run) else ""
            yield f"{mend}run the same command again: only what is missing is called"
        case Decision.INCONCLUSIVE if contest.baseline is None:
            version = contest.candidate.version
            if version is None:
                yield f"llmops release {name} && llmops measure {name}@v1"
            address = f"{name}@v{version or 1}"
            yield f"llmops promote {address} --to {contest.environment} --initial -m 'why'"
        case _:
            yield "add cases to the evalset, or accept a wider margin in llmops.yaml"
