"""Who meets whom: the candidate of each selected prompt, its baseline, cases and policy.

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
from llmops_cli.files.policy import policy_of
from llmops_cli.files.project import Project
from llmops_cli.flows.contenders import Contender, contender_of
from llmops_cli.flows.run.asked import (
    Then,
    asked_otherwise,
    asked_then,
    no_longer_gated,
    where_it_left,
)
from llmops_cli.flows.run.baseline import baseline_of, moved_here, on_model
from llmops_cli.flows.run.models import models_otherwise
from llmops_cli.flows.run.selection import Selection, addresses_of, environment_of
from llmops_cli.flows.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One evalset of a contest, with the cases that were selected."""

    evalset: Evalset
    cases: Sequence[Case]
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """A candidate against its baseline."""

    prompt: str
    candidate: Contender
    baseline: Contender | None
    environment: str
    rounds: tuple[Round, ...]
    anchors: Mapping[str, Contender] = field(default_factory=dict)
    watch: bool = False
    """The candidate is what runs already: its fresh draws against its own evidence."""
    policy_changes: tuple[str, ...] = ()
    """How this change's own policy differs from the one at the base revision, which decides."""
    then: Then = field(default_factory=Then)
    """What was asked of the prompt at the base revision."""
    asked_otherwise: tuple[str, ...] = ()
    """What this change asks otherwise, where both arms are measured by what it asks."""
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


def contests(workspace: Workspace, selection: Selection) -> list[Contest]:
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


def _filtered(contest: Contest) -> Contest:
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
) -> Contest | None:
    name, _, selector = address.partition("@")
    candidate = contender_of(workspace, name, selector or "working")
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
        rule.version: contender_of(workspace, name, rule.version, before=True)
        for each in rounds
        for rule in each.policy.rules
        if isinstance(rule, Anchor)
    }
    return Contest(
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
    workspace: Workspace, rounds: Sequence[Round], environment: Environment, then: Then
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
    workspace: Workspace, name: str, rounds: Sequence[Round], then: Then
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
) -> Round:
    policy = policy_in(rules, evalset, environment.name)
    return Round(evalset=evalset, cases=selection.cases_of(evalset), policy=policy)
