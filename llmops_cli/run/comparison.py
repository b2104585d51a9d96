"""What a candidate is compared with: what was named, or what the environment runs without it.

A change may release, measure and promote at once. Held against what it promotes, it would be
compared with itself, whoever promoted it and how. So with a base revision, an environment runs
what the log says there: events that the change adds do not count for its own baseline. What they
cite does: the answers of that evidence are not asked for again.

Who meets whom: the candidate of each selected prompt, its baseline, cases and policy.

A contest is one prompt's candidate against what an environment runs now (or against any other
version), over every selected evalset that gates the prompt. Contests are values; planning and
measuring come after.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from llmops_cli.core.case import Case, Evalset
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import Anchor, Environment, Floor, NoWorse, Policy, policy_changes
from llmops_cli.core.prompt import Model
from llmops_cli.core.release import Event
from llmops_cli.project.policy import policy_of
from llmops_cli.project.project import Project
from llmops_cli.run.base_changes import (
    BaseSnapshot,
    asked_otherwise,
    asked_then,
    models_otherwise,
    no_longer_gated,
    where_it_left,
)
from llmops_cli.run.reuse import reuse_evidence
from llmops_cli.run.selection import (
    ResolvedTarget,
    Selection,
    addresses_of,
    environment_of,
    resolve_target,
    resolve_target_at_base,
)
from llmops_cli.run.workspace import Workspace


def baseline_of(
    workspace: Workspace, selection: Selection, name: str, environment: Environment
) -> tuple[ResolvedTarget | None, tuple[str, ...]]:
    """What `name` is compared with in `environment`, and what there is to say about it.

    Raises `Refused` where the base revision runs a version that is not here.
    """
    if selection.baseline_model is not None:
        model = workspace.project.resolve_model(selection.baseline_model)
        return on_model(resolve_target(workspace, name, "working"), model), ()
    if selection.baseline is not None:
        other, _, selector = selection.baseline.partition("@")
        return resolve_target(workspace, other or name, selector or "working", before=True), ()
    moved = moved_here(workspace, environment.name, name)
    told = None if moved is None else _told(moved)
    if workspace.before.pointer(environment.name, name) is not None:
        running = _running(workspace, environment.name, name)
        compared = f"compared with {running.name}, which ran there before"
        return running, () if told is None else (f"{told}: {compared}",)
    missing = told or f"{environment.name} does not run {name} yet"
    before = resolve_target_at_base(workspace, name) if selection.environment is None else None
    if before is None:
        return None, (f"no baseline: {missing}",)
    here = told or f"{environment.name} does not run it yet"
    return before, (f"{here}: compared with what the base holds",)


def moved_here(workspace: Workspace, environment: str, name: str) -> Event | None:
    """The last event by which this change moves what `environment` runs of `name`, if it does.

    The evidence of the version that it moves to is taken over.
    """
    last = workspace.registry.pointer(environment, name)
    chain = workspace.before.history(environment, name)
    if last is None or last.to_version is None or last.seq <= len(chain):
        return None
    reuse_evidence(workspace, name, last.to_version.number)
    return last


def _running(workspace: Workspace, environment: str, name: str) -> ResolvedTarget:
    try:
        return resolve_target(workspace, name, environment, before=True)
    except UnknownName as error:
        event = workspace.before.pointer(environment, name)
        assert event is not None
        assert event.to_version is not None
        raise Refused(
            f"at {workspace.base}, {environment} runs {name}@v{event.to_version.number}, and this "
            "branch does not have it",
            hint=f"update your branch: git merge {workspace.base}",
        ) from error


def _told(moved: Event) -> str:
    assert moved.to_version is not None
    version = f"{moved.prompt}@v{moved.to_version.number}"
    if moved.action == "rollback":
        return f"this change rolls {moved.environment} back to {version}"
    by, first = " by override" if moved.action == "override" else "", ""
    if moved.from_version is None:
        first = ", the first that runs there"
    return f"this change promotes {version} to {moved.environment}{by}{first}"


def on_model(side: ResolvedTarget, model: Model) -> ResolvedTarget:
    """The same prompt answered by another model: that is no version."""
    return ResolvedTarget(
        name=f"{side.name} on {model.name}", target=replace(side.target, model=model)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalsetSelection:
    """One evalset of a contest, with the cases that were selected."""

    evalset: Evalset
    cases: Sequence[Case]
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptComparison:
    """A candidate against its baseline."""

    prompt: str
    candidate: ResolvedTarget
    baseline: ResolvedTarget | None
    environment: str
    rounds: tuple[EvalsetSelection, ...]
    anchors: Mapping[str, ResolvedTarget] = field(default_factory=dict)
    watch: bool = False
    """The candidate is what runs already: its fresh draws against its own evidence."""
    policy_changes: tuple[str, ...] = ()
    """How this change's own policy differs from the one at the base revision, which decides."""
    then: BaseSnapshot = field(default_factory=BaseSnapshot)
    """What was asked of the prompt at the base revision."""
    asked_otherwise: tuple[str, ...] = ()
    """What this change asks otherwise, where both sides are measured by what it asks."""
    models_otherwise: tuple[str, ...] = ()
    """How this change prices, limits and reaches the models otherwise that answer and judge."""
    against_environment: bool = True
    """Whether the baseline is what `environment` runs, and not one that was named."""
    moved: bool = False
    """Whether the change itself moves what `environment` runs."""
    borrowed: bool = False
    """Whether the candidate answers with another model than its own."""
    again: str = ""
    """The command that measures it once more, with every case."""
    notes: tuple[str, ...] = ()


def contests(workspace: Workspace, selection: Selection) -> list[PromptComparison]:
    """Every contest that `selection` asks for, in order of the prompts' names.

    Raises `Refused` where nothing is selected, `UnknownName` for a name that is not there.
    """
    # Policy counts as it is at the base revision, and whose policy that is belongs to it.
    which = workspace.rules if selection.environment is None else workspace.project
    environment = environment_of(which, selection.environment)
    for name in selection.evalsets:
        if name not in workspace.project.evalsets:
            raise UnknownName("evalset", name, workspace.project.evalsets)
    addresses = addresses_of(workspace, selection)
    left = where_it_left(workspace)
    said = _ungated(workspace, selection, addresses, left)
    found = [
        contest
        for address in addresses
        if (contest := _contest(workspace, selection, address, environment, left)) is not None
    ]
    if not found:
        raise Refused(
            "nothing to measure: no evalset gates what was selected",
            hint="an evalset names its prompt by its file name or by `prompt:`",
        )
    if not any(each.cases for contest in found for each in contest.rounds):
        every = [
            case for contest in found for each in contest.rounds for case in each.evalset.cases
        ]
        raise Refused("no case matches the filter", hint=selection.known_in(every))
    kept = [_filtered(each) for each in found if any(one.cases for one in each.rounds)]
    dropped = [each.prompt for each in found if not any(one.cases for one in each.rounds)]
    if dropped:
        said.append(f"no case of {', '.join(dropped)} matches the filter")
    kept[0] = replace(kept[0], notes=(*kept[0].notes, *said))
    return kept


def _ungated(
    workspace: Workspace, selection: Selection, addresses: Sequence[str], left: Project | None
) -> list[str]:
    """What is selected and not measured, because no evalset gates it.

    Raises `Refused` where that was asked for by name, or is what the change itself makes so.
    """
    project = workspace.project
    without = [
        name
        for name in dict.fromkeys(each.partition("@")[0] for each in addresses)
        if not project.evalsets_of(name)
    ]
    named = [
        name for name in without if name in {each.partition("@")[0] for each in selection.prompts}
    ]
    if named and len(named) < len(addresses):
        raise Refused(
            f"no evalset gates {', '.join(named)}: it cannot be measured",
            hint=f"write evalsets/{named[0]}.yaml, or leave its name out",
        )
    said = [f"no evalset gates {name}: it is not measured" for name in without]
    return said + no_longer_gated(workspace, selection.prompts, left)


def _filtered(contest: PromptComparison) -> PromptComparison:
    """Without the evalsets of which no case matches the filter, which is said."""
    empty = [each.evalset.name for each in contest.rounds if not each.cases]
    if not empty:
        return contest
    return replace(
        contest,
        rounds=tuple(each for each in contest.rounds if each.cases),
        notes=(*contest.notes, f"no case of {', '.join(empty)} matches the filter"),
    )


def _contest(
    workspace: Workspace,
    selection: Selection,
    address: str,
    environment: Environment,
    left: Project | None,
) -> PromptComparison | None:
    name, _, selector = address.partition("@")
    candidate = resolve_target(workspace, name, selector or "working")
    if selection.model is not None:
        candidate = on_model(candidate, workspace.project.resolve_model(selection.model))
    names = workspace.project.evalsets_of(name)
    wanted = [each for each in names if not selection.evalsets or each in selection.evalsets]
    if not wanted:
        return None
    rounds = tuple(
        _round(each, selection, environment, workspace.rules)
        for each in workspace.project.load(wanted)
    )
    baseline, notes = baseline_of(workspace, selection, name, environment)
    moved = moved_here(workspace, environment.name, name)
    left_out = ", ".join(each for each in names if each not in wanted)
    notes += (f"without {left_out}, which gates {name} as well",) if left_out else ()
    then = asked_then(workspace, name, left)
    anchors = {
        rule.version: resolve_target(workspace, name, rule.version, before=True)
        for each in rounds
        for rule in each.policy.rules
        if isinstance(rule, Anchor)
    }
    return PromptComparison(
        prompt=name,
        candidate=candidate,
        baseline=baseline,
        environment=environment.name,
        rounds=rounds,
        anchors=anchors,
        watch=selector in {each.name for each in workspace.project.environments}
        and selection.baseline is None
        and baseline is not None
        and baseline.target.digest == candidate.target.digest,
        policy_changes=tuple(_policy_changes(workspace, rounds, environment, then)),
        then=then,
        asked_otherwise=tuple(_asked_otherwise(workspace, name, rounds, then)),
        models_otherwise=tuple(
            models_otherwise(workspace, (each.evalset for each in rounds), candidate, baseline)
        ),
        against_environment=selection.baseline is None
        and selection.baseline_model is None
        and (baseline is None or baseline.version is not None),
        moved=moved is not None,
        borrowed=selection.model is not None,
        again=selection.again(address),
        notes=notes,
    )


def policy_in(rules: Project, evalset: Evalset, environment: str) -> Policy:
    """The policy of `rules` for an evalset in an environment."""
    ours = next((each for each in rules.environments if each.name == environment), None)
    return policy_of(rules.gate, rules.gate_of(evalset), ours.gate if ours else {})


def _policy_changes(
    workspace: Workspace,
    rounds: Sequence[EvalsetSelection],
    environment: Environment,
    then: BaseSnapshot,
) -> Iterator[str]:
    """What the working copy would decide by, where that is not what decides."""
    for each in rounds:
        wanted = policy_in(workspace.project, each.evalset, environment.name)
        changed = policy_changes(each.policy, wanted)
        if changed:
            yield (
                f"this change also changes the policy of {each.evalset.name} "
                f"({', '.join(changed)}); decided by the policy at the base revision"
                f"{then.among_these}"
            )


def _asked_otherwise(
    workspace: Workspace, name: str, rounds: Sequence[EvalsetSelection], then: BaseSnapshot
) -> Iterator[str]:
    tags = {
        rule.tag
        for each in rounds
        for rule in each.policy.rules
        if isinstance(rule, (NoWorse, Floor)) and rule.tag is not None
    }
    return asked_otherwise(workspace, name, (each.evalset for each in rounds), then, tags)


def _round(
    evalset: Evalset, selection: Selection, environment: Environment, rules: Project
) -> EvalsetSelection:
    policy = policy_in(rules, evalset, environment.name)
    return EvalsetSelection(evalset=evalset, cases=selection.cases_of(evalset), policy=policy)
