"""Who meets whom: the candidate of each selected prompt, its baseline, cases and policy.

A contest is one prompt's candidate against what an environment runs now (or against any other
version), over every selected evalset that gates the prompt. Contests are values; planning and
measuring come after.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from fnmatch import fnmatchcase

from llmops_cli.core.case import Case, Evalset
from llmops_cli.core.digest import digest
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import Anchor, Environment, Floor, NoWorse, Policy, policy_changes
from llmops_cli.core.prompt import Model
from llmops_cli.files.policy import policy_of
from llmops_cli.files.project import Project
from llmops_cli.flows.run.asked import Then, asked_otherwise, asked_then, no_longer_gated
from llmops_cli.flows.workspace import Contender, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a person asked to have measured; empty means everything."""

    prompts: Sequence[str] = ()
    """`name`, `name@selector`, a glob over names, or an environment."""
    evalsets: Sequence[str] = ()
    tags: Sequence[str] = ()
    cases: Sequence[str] = ()
    model: str | None = None
    """Replaces the candidate's model."""
    sample: int | None = None
    seed: int = 0
    environment: str | None = None
    """Whose version is the baseline; None: the last of llmops.yaml."""
    baseline: str | None = None
    """`name[@selector]` to compare with instead."""
    baseline_model: str | None = None
    """Compare with the working prompt on this model instead."""

    @property
    def partial(self) -> str | None:
        """Why a run of this selection is no evidence."""
        if self.tags:
            return f"only cases tagged {', '.join(self.tags)}"
        if self.cases:
            return f"only {len(self.cases)} named case{'s' if len(self.cases) != 1 else ''}"
        if self.sample is not None:
            return f"a sample of {self.sample} cases per evalset (seed {self.seed})"
        return None

    def again(self, address: str) -> str:
        """The command that measures `address` like this once more, with every case."""
        name = address.partition("@")[0]
        if self.baseline_model is not None:
            words = ["llmops compare", self.baseline_model, self.model, "--prompt", name]
        elif self.baseline is not None and self.model is None:
            other, at, selector = self.baseline.partition("@")
            words = ["llmops compare", (other or name) + at + selector, address]
        else:
            words = ["llmops eval", address]
            said = {"--model": self.model, "--baseline": self.baseline, "--env": self.environment}
            words += [word for pair in said.items() if pair[1] is not None for word in pair]
        words += [word for each in self.evalsets for word in ("--evalset", each)]
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Between:
    """Two prompts, versions or models, to be compared with each other."""

    before: str
    after: str
    _: KW_ONLY
    prompts: Sequence[str] = ()
    """Between two models: only these prompts."""
    evalsets: Sequence[str] = ()

    def selection(self, project: Project) -> Selection:
        """What that means in `project`. Raises `UnknownName` for what is neither."""
        known = [each.partition("@")[0] in project.prompts for each in (self.before, self.after)]
        if all(known):
            return Selection(prompts=[self.after], evalsets=self.evalsets, baseline=self.before)
        if any(known):
            stranger = self.after if known[0] else self.before
            raise UnknownName("prompt", stranger, project.prompts)
        for model in (self.before, self.after):
            if model not in project.models and "/" not in model:
                raise UnknownName("prompt or model", model, [*project.prompts, *project.models])
        return Selection(
            prompts=self.prompts,
            evalsets=self.evalsets,
            model=self.after,
            baseline_model=self.before,
        )


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
    against_environment: bool = True
    """Whether the baseline is what `environment` runs, and not one that was named."""
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
    addresses = _addresses(workspace, selection)
    said = _ungated(workspace, selection, addresses)
    found = [
        contest
        for address in addresses
        if (contest := _contest(workspace, selection, address, environment)) is not None
    ]
    if not found:
        raise Refused(
            "nothing to measure: no evalset gates what was selected",
            hint="an evalset names its prompt by its file name or by `prompt:`",
        )
    if not any(each.cases for contest in found for each in contest.rounds):
        raise Refused("no case matches the filter", hint="see `llmops check` for ids and tags")
    kept = [_filtered(each) for each in found if any(one.cases for one in each.rounds)]
    dropped = [each.prompt for each in found if not any(one.cases for one in each.rounds)]
    if dropped:
        said.append(f"no case of {', '.join(dropped)} matches the filter")
    kept[0] = replace(kept[0], notes=(*kept[0].notes, *said))
    return kept


def _ungated(workspace: Workspace, selection: Selection, addresses: Sequence[str]) -> list[str]:
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
    return said + no_longer_gated(workspace, selection.prompts)


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


def environment_of(project: Project, name: str | None) -> Environment:
    """The environment called `name`, or the last in promotion order."""
    if name is None:
        return project.environments[-1]
    for environment in project.environments:
        if environment.name == name:
            return environment
    raise UnknownName("environment", name, [each.name for each in project.environments])


def _addresses(workspace: Workspace, selection: Selection) -> list[str]:
    project = workspace.project
    environments = {each.name for each in project.environments}
    if not selection.prompts:
        return sorted(name for name in project.prompts if project.evalsets_of(name))
    chosen: dict[str, None] = {}
    for wish in selection.prompts:
        name, at, selector = wish.partition("@")
        if wish in environments:
            running = (f"{each}@{wish}" for each in workspace.registry.running(wish))
            chosen.update(dict.fromkeys(running))
            continue
        matches = [each for each in sorted(project.prompts) if fnmatchcase(each, name)]
        if not matches:
            raise UnknownName("prompt", name, [*project.prompts, *environments])
        chosen.update(dict.fromkeys(each + at + selector for each in matches))
    if not chosen:
        raise Refused(
            f"nothing runs in {', '.join(selection.prompts)} yet",
            hint="llmops release NAME, llmops measure NAME@v1, llmops promote NAME@v1 --initial",
        )
    return list(chosen)


def _contest(
    workspace: Workspace,
    selection: Selection,
    address: str,
    environment: Environment,
) -> Contest | None:
    name, _, selector = address.partition("@")
    candidate = workspace.contender(name, selector or "working")
    if selection.model is not None:
        candidate = _with_model(candidate, workspace.project.resolve_model(selection.model))
    names = workspace.project.evalsets_of(name)
    wanted = [each for each in names if not selection.evalsets or each in selection.evalsets]
    if not wanted:
        return None
    rounds = tuple(
        _round(each, selection, environment, workspace.rules)
        for each in workspace.project.load(wanted)
    )
    baseline, notes = _baseline(workspace, selection, name, environment)
    left_out = ", ".join(each for each in names if each not in wanted)
    notes += (f"without {left_out}, which gates {name} as well",) if left_out else ()
    then = asked_then(workspace, name)
    anchors = {
        rule.version: workspace.contender(name, rule.version)
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
        policy_changes=tuple(_policy_changes(workspace, rounds, environment)),
        then=then,
        asked_otherwise=tuple(_asked_otherwise(workspace, name, rounds, then)),
        against_environment=selection.baseline is None
        and selection.baseline_model is None
        and (baseline is None or baseline.version is not None),
        borrowed=selection.model is not None,
        again=selection.again(address),
        notes=notes,
    )


def _baseline(
    workspace: Workspace, selection: Selection, name: str, environment: Environment
) -> tuple[Contender | None, tuple[str, ...]]:
    if selection.baseline_model is not None:
        model = workspace.project.resolve_model(selection.baseline_model)
        return _with_model(workspace.contender(name, "working"), model), ()
    if selection.baseline is not None:
        other, _, selector = selection.baseline.partition("@")
        return workspace.contender(other or name, selector or "working"), ()
    running = workspace.registry.pointer(environment.name, name)
    if running is None:
        missing = f"{environment.name} does not run {name} yet"
        compared = f"{environment.name} does not run it yet: compared with what the base holds"
        before = workspace.at_base(name) if selection.environment is None else None
        if before is None:
            return None, (f"no baseline: {missing}",)
        return before, (compared,)
    return workspace.contender(name, environment.name), ()


def policy_in(rules: Project, evalset: Evalset, environment: str) -> Policy:
    """The policy of `rules` for an evalset in an environment."""
    ours = next((each for each in rules.environments if each.name == environment), None)
    return policy_of(rules.gate, rules.gate_of(evalset), ours.gate if ours else {})


def _policy_changes(
    workspace: Workspace, rounds: Sequence[Round], environment: Environment
) -> Iterator[str]:
    """What the working copy would decide by, where that is not what decides."""
    for each in rounds:
        wanted = policy_in(workspace.project, each.evalset, environment.name)
        changed = policy_changes(each.policy, wanted)
        if changed:
            yield (
                f"this change also changes the policy of {each.evalset.name} "
                f"({', '.join(changed)}); decided by the policy at the base revision"
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
    cases: Sequence[Case] = evalset.cases
    if selection.cases:
        cases = [
            case
            for case in cases
            if any(case.id == each or fnmatchcase(case.id, each) for each in selection.cases)
        ]
    if selection.tags:
        cases = [case for case in cases if set(case.tags) & set(selection.tags)]
    if selection.sample is not None and selection.sample < len(cases):
        cases = _sampled(cases, selection.sample, selection.seed)
    return Round(evalset=evalset, cases=cases, policy=policy)


def _sampled(cases: Sequence[Case], size: int, seed: int) -> list[Case]:
    """`size` of `cases` by the digest of their ids: a case that is added moves one at most."""
    ranks = {case.id: digest("llmops/sample/v1", [seed, case.id]) for case in cases}
    kept = set(sorted(ranks, key=ranks.__getitem__)[:size])
    return [case for case in cases if case.id in kept]


def _with_model(side: Contender, model: Model) -> Contender:
    """The same prompt answered by another model: that is no version."""
    return Contender(name=f"{side.name} on {model.name}", target=replace(side.target, model=model))
