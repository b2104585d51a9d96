"""Split a run into shards, and merge their run files into the run that one process would have made.

Every shard plans the whole run and calls its own part of it. Cases that share a group or a request
are in one shard, so that nothing is called twice. The plan's digest names what all shards of a run
have in common; it doesn't depend on what is cached.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import heapify, heapreplace
from pathlib import Path

from llmops_cli.core.digest import InvalidRecord, Json, digest, from_plain, to_plain
from llmops_cli.core.errors import IntegrityBroken, Refused
from llmops_cli.core.report import Spending
from llmops_cli.core.result import CANDIDATE, CaseResult, Failure, FailureKind, Score, Trial
from llmops_cli.run.evalset_run import CONFIRMING, EvalsetRun, Run, plan_trials
from llmops_cli.run.selection import EvalOptions, Selection, Shard
from llmops_cli.run.side import Side, TrialAt, TrialColumn
from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.run_file import RunFile, open_run
from llmops_cli.stores.sources import of_run

_CI = (
    ("CI_NODE_INDEX", "CI_NODE_TOTAL", 1),
    ("CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", 0),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", 0),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", None),
)
"""Variables of index and count, and the first index; None: SLURM_ARRAY_TASK_MIN has it."""
_LOST = Failure(kind=FailureKind.NOT_ATTEMPTED, message="no shard holds this trial")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """What the run file of a shard says of its run, in place of a report."""

    index: int
    count: int
    plan: str
    """Digest of the whole run's plan."""
    start: str
    selection: Json
    base: str | None = None
    strict: bool = False
    require_baseline: bool = False
    changed: str | None = None
    calls: int = 0
    cost: float | None = None
    spent: Mapping[str, Spending] = field(default_factory=dict)
    called: Mapping[str, int] = field(default_factory=dict)
    """Trials that this shard called, by prompt, evalset and role."""
    interrupted: bool = False


def shard_of(text: str, environ: Mapping[str, str]) -> Shard:
    """Return the shard that `i/n` names; that of the CI job for `auto`. Raises `Refused`."""
    index = count = ""
    if text == "auto":
        for name, total, first in _CI:
            if environ.get(name) and environ.get(total):
                start = environ.get("SLURM_ARRAY_TASK_MIN", "0") if first is None else str(first)
                index, count = environ[name], environ[total]
                if index.isdecimal() and start.isdecimal():
                    index = str(int(index) - int(start) + 1)
                break
        else:
            known = ", ".join(f"{name}/{total}" for name, total, _ in _CI)
            raise Refused(
                f"--shard auto: no job array is known here (none of {known} is set)",
                hint="--shard 2/8",
            )
    elif match := re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text):
        index, count = match.groups()
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        what = f"{index}/{count} of this job" if text == "auto" else repr(text)
        raise Refused(f"--shard: {what} is no shard", hint="--shard 2/8 is the second of eight")
    return Shard(int(index), int(count))


def plan_digest(evalset_runs: Sequence[EvalsetRun]) -> str:
    """Return the digest of what is compared, on which requests, judged how."""
    plain: list[Json] = [
        [
            evalset_run.comparison.prompt,
            evalset_run.comparison.environment,
            to_plain(evalset_run.facts()),
            [
                [role, side.spec.target.digest, side.plan.repeats, digest("requests", [*requests])]
                for role, side in evalset_run.roles.items()
                for requests in [side.plan.requests]
            ],
        ]
        for evalset_run in evalset_runs
    ]
    return digest("llmops/shards/v1", plain)


def restrict(evalset_runs: Sequence[EvalsetRun], shard: Shard) -> None:
    """Leave only the work of `shard` in the plans."""
    for evalset_run, shards in zip(evalset_runs, _assigned(evalset_runs, shard.count), strict=True):
        evalset_run.part = [at for at, number in enumerate(shards) if number == shard.index]
        part = frozenset(evalset_run.part)
        for side in evalset_run.sides:
            for name in ("missing", "shared", "rescore"):
                column = TrialColumn()
                for at in getattr(side.plan, name):
                    if at.case in part:
                        column.append(at)
                setattr(side.plan, name, column)
            failures = side.state.failures
            side.state.failures = {at: failures[at] for at in failures if at.case in part}
        evalset_run.unscored_pairs = len(evalset_run.pairs_to_score())


def facts_of(run: Run, shard: Shard, plan: str, options: EvalOptions) -> ShardFacts:
    """Return what the run file of `shard` says of its run."""
    return ShardFacts(
        index=shard.index,
        count=shard.count,
        plan=plan,
        start=options.start,
        selection=to_plain(options.selection),
        base=options.base,
        strict=options.strict,
        require_baseline=options.require_baseline,
        changed=options.changed,
        calls=run.calls,
        cost=run.cost,
        spent=dict(run.spent),
        called={
            _side_key(evalset_run, role): side.state.called
            for evalset_run in run.evalset_runs
            for role, side in evalset_run.roles.items()
        },
        interrupted=run.interrupted,
    )


@dataclass(frozen=True, slots=True)
class Shards:
    """All shards of one run, in their order."""

    files: Sequence[tuple[ShardFacts, RunFile]]

    @property
    def first(self) -> ShardFacts:
        """Return the facts of the first shard."""
        return self.files[0][0]

    def options(self, options: EvalOptions) -> EvalOptions:
        """Return the options of the shards' run. Raises `Refused` if `options` contradict them."""
        facts = self.first
        if options.base is not None and options.base != facts.base:
            raise Refused(
                f"the shards were run with --base {facts.base or '(none)'}, not {options.base}",
                hint="run the shards with the same --base",
            )
        return replace(
            options,
            selection=from_plain(Selection, facts.selection, "selection"),
            base=facts.base,
            changed=facts.changed,
            strict=options.strict or facts.strict,
            require_baseline=facts.require_baseline,
            offline=True,
            now=min(datetime.fromisoformat(facts.start) for facts, _ in self.files),
        )

    def fill(self, workspace: Workspace, evalset_runs: Sequence[EvalsetRun]) -> None:
        """Take answers, scores and outcomes over. Raises `Refused` if they are of another plan."""
        plan = plan_digest(evalset_runs)
        for facts, run in self.files:
            if facts.plan != plan:
                raise Refused(
                    f"{run.path} is a shard of another run: prompts, evalsets, models or policy "
                    "were different",
                    hint="merge in the checkout that the shards were run in",
                )
        self._ingest(workspace)
        plan_trials(evalset_runs)
        assigned = _assigned(evalset_runs, self.first.count)
        owners = {
            id(evalset_run): {
                (position, case.id): part[position]
                for position, case in enumerate(evalset_run.cases)
            }
            for evalset_run, part in zip(evalset_runs, assigned, strict=True)
        }
        by_name = {(run.comparison.prompt, run.name): run for run in evalset_runs}
        for facts, run in self.files:
            for case in run.cases():
                owner_run = by_name.get((case.prompt, case.evalset))
                places = {} if owner_run is None else owners[id(owner_run)]
                if owner_run is None or places.get((case.position, case.case)) != facts.index:
                    raise IntegrityBroken(
                        f"the case {case.case} is no part of shard {facts.index}",
                        where=str(run.path),
                    )
                _fill_case(owner_run, case)
            for evalset_run in evalset_runs:
                for role, side in evalset_run.roles.items():
                    side.state.called += facts.called.get(_side_key(evalset_run, role), 0)
        plan_trials(evalset_runs)
        for evalset_run in evalset_runs:
            for side in evalset_run.sides:
                side.give_up(_LOST)
            evalset_run.finish()

    def _ingest(self, workspace: Workspace) -> None:
        for _, run in self.files:
            completions, scores = run.results()
            # models that the base revision lacks look into the other store
            for store in (workspace.results, *([workspace.volatile] if workspace.base else [])):
                store.sources.accept(of_run(run.digest))
                stored = store.briefs(key for key, _ in completions)
                lacking = [
                    (key, answer)
                    for key, answer in completions
                    if key not in stored or stored[key].digest != answer.digest
                ]
                store.ingest(run.digest, lacking, scores)

    def count(self, run: Run) -> None:
        """Count the calls of all shards in `run`."""
        costs = [facts.cost for facts, _ in self.files]
        run.calls = sum(facts.calls for facts, _ in self.files)
        run.cost = None if None in costs else math.fsum(cost for cost in costs if cost)
        run.interrupted = any(facts.interrupted for facts, _ in self.files)
        for facts, _ in self.files:
            for role, spending in facts.spent.items():
                run.spent[role] = run.spent.get(role, Spending()) + spending


def open_shards(paths: Iterable[Path]) -> Shards:
    """Open the shards of one run. Raises `Refused` if one is missing, doubled or foreign."""
    shards: list[tuple[ShardFacts, RunFile]] = []
    for path in paths:
        run = open_run(path)
        report = run.manifest.report
        if not isinstance(report, dict) or "shard" not in report:
            raise Refused(f"{path} is no shard", hint="`eval --shard 1/8 --out s1.jsonl.gz`")
        try:
            shards.append((from_plain(ShardFacts, report["shard"], "shard"), run))
        except InvalidRecord as error:
            raise Refused(f"{path} is a shard of another llmops: {error}") from error
    if not shards:
        raise Refused("merge takes the run files of all shards", hint="llmops merge s*.jsonl.gz")
    shards.sort(key=lambda shard: (shard[0].index, shard[0].plan))
    count = shards[0][0].count
    common = {
        (
            *(facts.count, facts.plan, facts.base, facts.changed, str(facts.selection)),
            *(facts.strict, facts.require_baseline),
        )
        for facts, _ in shards
    }
    if len(common) > 1:
        raise Refused(
            f"{', '.join(str(run.path) for _, run in shards[:3])}: shards of different runs",
            hint="merge the shards of one run; each was started with the same options",
        )
    times = Counter(facts.index for facts, _ in shards)
    if doubled := [str(index) for index, number in times.items() if number > 1]:
        raise Refused(f"shard {', '.join(doubled)} of {count} is there more than once")
    if missing := [str(index) for index in range(1, count + 1) if index not in times]:
        raise Refused(
            f"shard {', '.join(missing)} of {count} is missing: no verdict",
            hint=f"llmops eval --shard {missing[0]}/{count} --out FILE",
        )
    return Shards(shards)


def _assigned(evalset_runs: Sequence[EvalsetRun], count: int) -> list[list[int]]:
    """Return the shard of each case: the largest units first, each to the shard with least work."""
    parents: list[int] = []

    def root(node: int) -> int:
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    nodes: dict[tuple[str, str, str], int] = {}
    names: list[str] = []
    numbers: list[list[int]] = []
    for evalset_run in evalset_runs:
        numbers.append([])
        for position, case in enumerate(evalset_run.cases):
            node = len(parents)
            parents.append(node)
            names.append(digest("case", [evalset_run.name, case.group or case.id]))
            numbers[-1].append(node)
            ties = [("case", evalset_run.name, case.id)]
            ties += [("group", evalset_run.name, case.group)] if case.group else []
            ties += [
                (side.spec.purpose, "", side.plan.requests[position]) for side in evalset_run.sides
            ]
            for tie in ties:
                parents[root(nodes.setdefault(tie, node))] = root(node)
    sizes: Counter[int] = Counter()
    first: dict[int, str] = {}
    for node, name in enumerate(names):
        sizes[root(node)] += 1
        first[root(node)] = min(name, first.get(root(node), name))
    loads = [(0, index) for index in range(1, count + 1)]
    heapify(loads)
    owner: dict[int, int] = {}
    for unit in sorted(sizes, key=lambda unit: (-sizes[unit], first[unit])):
        load, index = loads[0]
        owner[unit] = index
        heapreplace(loads, (load + sizes[unit], index))
    return [[owner[root(node)] for node in column] for column in numbers]


def _fill_case(evalset_run: EvalsetRun, case: CaseResult) -> None:
    for role, result in case.sides.items():
        side = evalset_run.roles.get(role)
        if side is None or role == CONFIRMING:
            continue
        numbers = side.plan.trial_numbers[case.position]
        if len(numbers) != len(result.trials):
            raise IntegrityBroken(
                f"{case.case} has {len(result.trials)} trials of the {role}, not {len(numbers)}",
                where=evalset_run.name,
            )
        for n, trial in zip(numbers, result.trials, strict=True):
            _fill_trial(evalset_run, side, TrialAt(case.position, n), trial, role)


def _fill_trial(evalset_run: EvalsetRun, side: Side, at: TrialAt, trial: Trial, role: str) -> None:
    state = side.state
    if trial.failure is not None:
        state.failures[at] = trial.failure
        return
    if trial.latency is not None:
        state.latencies[at] = trial.latency
    if trial.first_token is not None:
        state.first_tokens[at] = trial.first_token
    for bound in evalset_run.scorers.all:
        if bound.label not in trial.scores or (bound.kind.paired and role != CANDIDATE):
            continue
        value, reason = trial.scores[bound.label], trial.reasons.get(bound.label, "")
        if value is None:
            state.unscored.setdefault(at, {})[bound.label] = reason
        elif not bound.stored:
            score = Score(value=value, reason=reason)
            state.scores.setdefault(at, {})[bound.label] = score


def _side_key(evalset_run: EvalsetRun, role: str) -> str:
    return f"{evalset_run.comparison.prompt}\n{evalset_run.name}\n{role}"
