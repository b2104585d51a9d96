"""Choose the baseline, cases and policy of each candidate, and select the changed ones.

The baseline is what the user named, or what the environment runs without this change. A change may
release, measure and promote at once; it must not be compared with the version that it promotes,
which is itself. So with a base revision, the log is read there: events that the change adds don't
affect its own baseline. The answers in the evidence that they cite are reused.

With `eval --changed BASE`, a prompt is affected if its requests, its model, or the cases, scorers
or policy of the evalsets that gate it differ from those at the branch point. Parsed files are
compared, so a comment affects no prompt, and an included file, a judge's prompt or a schema affects
all prompts that use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from llmops_cli.core.digest import Json, digest
from llmops_cli.core.errors import InvalidFiles, Refused, UnknownName
from llmops_cli.core.policy import (
    Anchor,
    Coverage,
    Decision,
    Environment,
    Finding,
    Policy,
    policy_changes,
)
from llmops_cli.core.prompt import Case, Evalset, Model
from llmops_cli.core.records import EvalsetFacts, Event
from llmops_cli.core.result import Purpose
from llmops_cli.gate.calibration import GatingJudge, shrinkage
from llmops_cli.project.policy import policy_of
from llmops_cli.project.project import Project, load_project
from llmops_cli.run.base_changes import (
    BaseSnapshot,
    base_snapshot,
    calibration_changes,
    code_changes,
    evalset_changes,
    merge_base,
    model_changes,
    no_longer_gated,
)
from llmops_cli.run.reuse import reuse_evidence
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.selection import (
    ResolvedTarget,
    Selection,
    addresses_of,
    environment_of,
    is_selector,
    resolve_target,
    resolve_target_at_base,
)
from llmops_cli.run.workspace import AtRevision, Workspace
from llmops_cli.stores.git import open_git


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalsetSelection:
    """One evalset, with the cases that were selected and the policy that decides."""

    evalset: Evalset
    cases: Sequence[Case]
    policy: Policy
    base_of: str | None = None
    """The name of the evalset that this is, as it was at the base revision; None: as it is here."""

    @property
    def name(self) -> str:
        """Return the name of the evalset in the project's files."""
        return self.base_of or self.evalset.name


def evalset_facts(
    selection: EvalsetSelection,
    scorers: Scorers,
    *,
    look: int = 1,
    gating: Sequence[GatingJudge] = (),
) -> EvalsetFacts:
    """Return what an evalset asks of a prompt: cases, scorers, policy and its `gating` judges."""
    due: list[Json] = [
        [case.id, case.facts, [bound.digest for bound in scorers.due(case)]]
        for case in selection.cases
    ]
    return EvalsetFacts(
        evalset=selection.evalset.name,
        digest=digest("llmops/evalset/v1", due),
        cases=len(selection.cases),
        policy=selection.policy,
        metrics=tuple(scorers.metrics),
        retired=selection.evalset.retired,
        look=look,
        shrinkage=shrinkage(gating, scorers.metrics),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """An environment that a version is promoted to."""

    environment: str
    first: bool
    """Whether no version of the prompt runs there yet."""


def destination(
    workspace: Workspace, name: str, number: int | None, environment: str
) -> Destination:
    """Return the first environment on the way to `environment` that has not run a version.

    `number` of None is one that is not released.
    """
    registry = workspace.registry
    before = {known.name: known.after for known in workspace.project.environments}
    way = [environment]
    while (previous := before.get(way[0])) is not None:
        way.insert(0, previous)
    for place in way:
        moves = (event.to_version for event in registry.history(place, name))
        if number is None or number not in {ref.number for ref in moves if ref}:
            break
    return Destination(environment=place, first=registry.pointer(place, name) is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptComparison:
    """One prompt's candidate against its baseline, on every selected evalset that gates it."""

    prompt: str
    candidate: ResolvedTarget
    baseline: ResolvedTarget | None
    environment: str
    evalsets: tuple[EvalsetSelection, ...]
    anchors: Mapping[str, ResolvedTarget] = field(default_factory=dict)
    watch: bool = False
    """Whether the candidate is what runs already: then its new trials are compared with its own
    evidence.
    """
    base: BaseSnapshot = field(default_factory=BaseSnapshot)
    """What gated the prompt at the base revision."""
    changes: tuple[Finding, ...] = ()
    """What this change alters in the policy, which doesn't decide, in evalsets and in models."""
    against_environment: bool = True
    """Whether the baseline is what `environment` runs, and not one that was named."""
    moves_environment: bool = False
    """Whether the change itself moves what `environment` runs."""
    baseline_purpose: Purpose = "baseline"
    """Why the baseline is run; `gate`: no gate decides, so its trials are those of a candidate."""
    other_model: bool = False
    """Whether the candidate answers with another model than its own."""
    rerun_command: str = ""
    """The command that measures it again, with every case."""
    destination: Destination | None = None
    """Where the candidate is promoted to next."""
    notes: tuple[str, ...] = ()

    @property
    def as_at_base(self) -> frozenset[str]:
        """Return the evalsets that also decide as they were at the base revision."""
        return frozenset(selected.base_of for selected in self.evalsets if selected.base_of)

    def version_of(self, name: str) -> int | None:
        """Return the version number of the target called `name`; None: it is no version."""
        targets = (self.candidate, self.baseline, *self.anchors.values())
        return next((target.version for target in targets if target and target.name == name), None)


def compare_prompts(workspace: Workspace, selection: Selection) -> list[PromptComparison]:
    """Return the comparison of each prompt that `selection` selects, in order of their names.

    Raises `Refused` if nothing is selected, `UnknownName` for a name that is not there.
    """
    named, here = selection.baseline, workspace.project
    if named and named not in here.prompts and is_selector(named, here):
        selection = replace(selection, baseline=f"@{named}")
    # The environment belongs to the policy, which counts as it is at the base revision.
    project = workspace.rules if selection.environment is None else workspace.project
    environment = environment_of(project, selection.environment)
    for name in selection.evalsets:
        if name not in workspace.project.evalsets:
            raise UnknownName("evalset", name, workspace.project.evalsets)
    addresses = addresses_of(workspace, selection)
    promoted = _promoted(workspace, selection, environment.name)
    addresses += [address for address in promoted if address not in addresses]
    branched_from = merge_base(workspace)
    notes = _ungated(workspace, selection, addresses, branched_from)
    comparisons = [
        comparison
        for address in addresses
        if (comparison := _compare(workspace, selection, address, environment, branched_from))
    ]
    if not comparisons:
        raise Refused(
            "nothing to measure: no evalset gates what was selected",
            hint="an evalset names its prompt by its file name or by `prompt:`",
        )
    filtered = [_filtered(comparison) for comparison in comparisons]
    measured = [comparison for comparison in filtered if comparison.evalsets]
    if not measured:
        every = [
            case
            for comparison in comparisons
            for selected in comparison.evalsets
            for case in selected.evalset.cases
        ]
        raise Refused("no case matches the filter", hint=selection.known_in(every))
    empty = [comparison.prompt for comparison in filtered if not comparison.evalsets]
    if empty:
        notes.append(f"no case of {', '.join(empty)} matches the filter")
    first, *others = measured
    return [replace(first, notes=(*first.notes, *notes)), *others]


def _promoted(workspace: Workspace, selection: Selection, environment: str) -> Iterator[str]:
    """Yield each version that this change promotes, unless it is the prompt here or runs already.

    Measuring the prompt alone would say nothing about them. Raises `Refused` for one that the base
    gates and nothing here does.
    """
    project, rules = workspace.project, workspace.rules
    for name in () if workspace.base is None else workspace.registry.running(environment):
        wanted = not selection.prompts or any(
            fnmatchcase(name, address.partition("@")[0]) for address in selection.prompts
        )
        earlier = workspace.base_registry.history(environment, name)
        events = workspace.registry.history(environment, name)[len(earlier) :]
        # Also those that a later event moves away from: a rollback would go to them.
        moves = [event for event in events if event.action in {"promote", "override"}]
        if not moves or not wanted:
            continue
        if not project.evalsets_of(name) and rules.evalsets_of(name):
            raise Refused(
                f"{_describe(moves[-1])}, and nothing here gates {name}, as "
                f"{', '.join(rules.evalsets_of(name))} did at {workspace.base}",
                hint="keep its evalsets, or leave the promotion out of this change",
            )
        running = workspace.base_registry.pointer(environment, name)
        known = {workspace.registry.moved_to(running).target} if running else set()
        if name in project.prompts:
            known.add(project.target(project.prompts[name]).digest)
        for version in map(workspace.registry.moved_to, moves):
            if version.target not in known:
                known.add(version.target)
                yield f"{name}@v{version.number}"


def _ungated(
    workspace: Workspace,
    selection: Selection,
    addresses: Sequence[str],
    branched_from: Project | None,
) -> list[str]:
    """Say which selected prompts aren't measured because no evalset gates them.

    Raises `Refused` if one was selected by name, or if the change itself removes its evalsets.
    """
    names = dict.fromkeys(address.partition("@")[0] for address in addresses)
    ungated = [name for name in names if not workspace.project.evalsets_of(name)]
    selected = {address.partition("@")[0] for address in selection.prompts}
    by_name = [name for name in ungated if name in selected]
    if by_name and len(by_name) < len(addresses):
        raise Refused(
            f"no evalset gates {', '.join(by_name)}: it cannot be measured",
            hint=f"write evalsets/{by_name[0]}.yaml, or leave its name out",
        )
    notes = [f"no evalset gates {name}: it is not measured" for name in ungated]
    return notes + no_longer_gated(workspace, selection.prompts, branched_from)


def _filtered(comparison: PromptComparison) -> PromptComparison:
    """Drop the evalsets of which no case matches the filter, and say so."""
    empty = [selected.evalset.name for selected in comparison.evalsets if not selected.cases]
    if not empty:
        return comparison
    return replace(
        comparison,
        evalsets=tuple(selected for selected in comparison.evalsets if selected.cases),
        notes=(*comparison.notes, f"no case of {', '.join(empty)} matches the filter"),
    )


def _compare(
    workspace: Workspace,
    selection: Selection,
    address: str,
    environment: Environment,
    branched_from: Project | None,
) -> PromptComparison | None:
    name, _, selector = address.partition("@")
    candidate = resolve_target(workspace, name, selector or "working")
    move = _last_move(workspace, environment.name, name)
    if move is not None:
        candidate = _with_evidence(workspace, candidate, move)
    if selection.model is not None:
        candidate = _on_model(candidate, workspace.project.resolve_model(selection.model))
    names = workspace.project.evalsets_of(name)
    selected = [
        evalset for evalset in names if not selection.evalsets or evalset in selection.evalsets
    ]
    if not selected:
        return None
    evalsets = tuple(
        EvalsetSelection(
            evalset=evalset,
            cases=selection.cases_of(evalset),
            policy=policy_in(workspace.rules, evalset, environment.name),
        )
        for evalset in workspace.project.load(selected)
    )
    baseline, notes = _baseline_of(workspace, selection, name, environment.name)
    left_out = ", ".join(evalset for evalset in names if evalset not in selected)
    notes += (f"without {left_out}, which gates {name} as well",) if left_out else ()
    comparison = PromptComparison(
        prompt=name,
        candidate=candidate,
        baseline=baseline,
        environment=environment.name,
        evalsets=evalsets,
        anchors={
            rule.version: _anchor(workspace, name, selected.evalset, environment.name, rule)
            for selected in evalsets
            for rule in selected.policy.rules
            if isinstance(rule, Anchor)
        },
        watch=selector in {known.name for known in workspace.project.environments}
        and selection.baseline is None
        and baseline is not None
        and baseline.target.digest == candidate.target.digest,
        base=base_snapshot(workspace, name, branched_from),
        against_environment=selection.baseline is None
        and selection.baseline_model is None
        and (baseline is None or baseline.version is not None),
        moves_environment=move is not None,
        other_model=selection.model is not None,
        rerun_command=selection.rerun_command(address),
        destination=destination(
            workspace, name, released_as(workspace, candidate), environment.name
        ),
        notes=notes,
    )
    return _with_changes(workspace, selection, comparison)


def _with_changes(
    workspace: Workspace, selection: Selection, comparison: PromptComparison
) -> PromptComparison:
    """Return `comparison` with what the change alters, and the evalsets that decide therefore."""
    at_base = _evalsets_at_base(workspace, selection, comparison)
    changes = tuple(_change_findings(workspace, comparison))
    return replace(comparison, changes=changes, evalsets=(*comparison.evalsets, *at_base))


def _evalsets_at_base(
    workspace: Workspace, selection: Selection, comparison: PromptComparison
) -> Iterator[EvalsetSelection]:
    """Yield the evalsets that a change alters together with their prompt, as they are at the base.

    They decide as well: else weaker scorers, other expectations or easier cases would let a worse
    prompt pass. A prompt that is the one at the base, or the baseline, is no worse.
    """
    candidate, at_base = comparison.candidate, resolve_target_at_base(workspace, comparison.prompt)
    others = [known.target for known in (at_base, comparison.baseline) if known is not None]
    ours = candidate.target
    kind = workspace.provider(ours.model)
    answers_differ = workspace.records_differ(ours.model) or (
        kind.code and bool(workspace.changed_code)
    )
    if not answers_differ and any(
        (ours.digest, ours.model) == (target.digest, target.model) for target in others
    ):
        return
    before = replace(workspace, project=workspace.rules)
    here = {selected.evalset.name: selected for selected in comparison.evalsets}
    for name, evalset in comparison.base.evalsets.items():
        if selection.evalsets and name not in selection.evalsets:
            continue
        policy = policy_in(workspace.rules, evalset, comparison.environment)
        now = here.get(name)
        if now and _checks(workspace, now.evalset, policy) == _checks(before, evalset, policy):
            continue
        rules = tuple(rule for rule in policy.rules if not isinstance(rule, Coverage))
        yield EvalsetSelection(
            evalset=replace(evalset, name=f"{name}@base"),
            cases=selection.cases_of(evalset),
            policy=replace(policy, rules=rules),
            base_of=name,
        )


def released_as(workspace: Workspace, candidate: ResolvedTarget) -> int | None:
    """Return the number of the version that `candidate` is; None: it is not released."""
    if candidate.version is not None:
        return candidate.version
    versions = workspace.registry.versions(candidate.target.prompt.name)
    same = (known.number for known in versions if known.target == candidate.target.digest)
    return next(same, None)


def _anchor(
    workspace: Workspace, name: str, evalset: Evalset, environment: str, rule: Anchor
) -> ResolvedTarget:
    """Return the version that a rule of an evalset in an environment compares with."""
    try:
        return resolve_target(workspace, name, rule.version, at_base=True)
    except Refused as error:
        error.at(workspace.rules.rule_place(evalset, environment, rule.version))
        raise


def policy_in(rules: Project, evalset: Evalset, environment: str) -> Policy:
    """Return the policy of `rules` for an evalset in an environment."""
    ours = next((known for known in rules.environments if known.name == environment), None)
    return policy_of(rules.gate, rules.gate_of(evalset), ours.gate if ours else {})


def _change_findings(workspace: Workspace, comparison: PromptComparison) -> Iterator[Finding]:
    """Yield a finding for each change to the policy, evalsets, models or code that measure it."""
    evalsets = [selected.evalset for selected in comparison.evalsets]
    rules = [rule for selected in comparison.evalsets for rule in selected.policy.rules]
    tags = {tag for rule in rules if (tag := getattr(rule, "tag", None))}
    called = comparison.candidate, comparison.baseline
    policies = [(selected.evalset, selected.policy) for selected in comparison.evalsets]
    for rule, changes in (
        ("policy", _policy_changes(workspace, comparison)),
        ("evalset", evalset_changes(workspace, comparison.prompt, evalsets, comparison.base, tags)),
        ("models", model_changes(workspace, evalsets, *called)),
        ("calibrations", calibration_changes(workspace, policies)),
        ("code", code_changes(workspace, evalsets, comparison.base, *called)),
    ):
        for change in changes:
            yield Finding(rule=rule, decision=Decision.PASS, why=change)


def _policy_changes(workspace: Workspace, comparison: PromptComparison) -> Iterator[str]:
    """Say how the policy of the working copy differs from the one that is used."""
    for selected in comparison.evalsets:
        working = policy_in(workspace.project, selected.evalset, comparison.environment)
        changed = policy_changes(selected.policy, working)
        if changed:
            yield (
                f"this change also changes the policy of {selected.evalset.name} "
                f"({', '.join(changed)}); decided by the policy at the base revision"
                f"{comparison.base.caveat}"
            )


def _baseline_of(
    workspace: Workspace, selection: Selection, name: str, environment: str
) -> tuple[ResolvedTarget | None, tuple[str, ...]]:
    """Return the baseline of `name` in `environment`, and a note about it.

    Raises `Refused` if the base revision runs a version that is not here.
    """
    if selection.baseline_model is not None:
        model = workspace.project.resolve_model(selection.baseline_model)
        return _on_model(resolve_target(workspace, name, "working"), model), ()
    if selection.baseline is not None:
        other, _, selector = selection.baseline.partition("@")
        return resolve_target(workspace, other or name, selector or "working", at_base=True), ()
    event = _last_move(workspace, environment, name)
    move = None if event is None else _describe(event)
    before = workspace.base_registry.pointer(environment, name)
    if before is not None:
        try:
            running = resolve_target(workspace, name, environment, at_base=True)
        except UnknownName as error:
            assert before.to_version is not None
            raise Refused(
                f"at {workspace.base}, {environment} runs {name}@v{before.to_version.number}, "
                "and this branch does not have it",
                hint=f"update your branch: git merge {workspace.base}",
            ) from error
        note = f"{move}: compared with {running.name}, which ran there before"
        return running, () if move is None else (note,)
    at_base = resolve_target_at_base(workspace, name) if selection.environment is None else None
    if at_base is None:
        missing = move or f"{environment} does not run {name} yet"
        return None, (f"no baseline: {missing}",)
    reason = move or f"{environment} does not run it yet"
    return at_base, (f"{reason}: compared with what the base holds",)


def _last_move(workspace: Workspace, environment: str, name: str) -> Event | None:
    """Return the last event by which this change moves what `environment` runs of `name`."""
    last = workspace.registry.pointer(environment, name)
    earlier = workspace.base_registry.history(environment, name)
    if last is None or last.to_version is None or last.seq <= len(earlier):
        return None
    return last


def _with_evidence(workspace: Workspace, candidate: ResolvedTarget, move: Event) -> ResolvedTarget:
    """Return the working prompt with the evidence of the version that it is moved to, if equal."""
    version = workspace.registry.moved_to(move)
    if candidate.version is not None or version.target != candidate.target.digest:
        return candidate
    results = workspace.results_of(candidate.target.model)
    evidence = reuse_evidence(workspace, version.name, version.number, results)
    return replace(candidate, evidence=evidence)


def _describe(event: Event) -> str:
    assert event.to_version is not None
    version = f"{event.prompt}@v{event.to_version.number}"
    if event.action == "rollback":
        return f"this change rolls {event.environment} back to {version}"
    by = " by override" if event.action == "override" else ""
    first = ", the first that runs there" if event.from_version is None else ""
    return f"this change promotes {version} to {event.environment}{by}{first}"


def _on_model(target: ResolvedTarget, model: Model) -> ResolvedTarget:
    """Return the same prompt on another model, which isn't a version."""
    return ResolvedTarget(
        name=f"{target.name} on {model.name}", target=replace(target.target, model=model)
    )


def changed_prompts(
    workspace: Workspace, comparisons: Sequence[PromptComparison], revision: str
) -> tuple[list[PromptComparison], str]:
    """Return those of `comparisons` that changed since the branch left `revision`, and a note.

    All of them where the files there cannot be read. Raises `Refused` if git does not know how
    the work here and `revision` are related.
    """
    if any(
        comparison.candidate.version is not None and not comparison.moves_environment
        for comparison in comparisons
    ):
        raise Refused(
            "--changed asks what changed in the files, and a version never does",
            hint="name prompts without @version, or leave --changed away",
        )
    checkout = open_git(workspace.root)
    if checkout is None:
        raise Refused(
            f"--changed {revision} needs git, and {workspace.root} is no git checkout",
            hint="in CI, check the repository out; or leave --changed away",
        )
    left = checkout.merge_base(revision)
    since = f"since {left.commit[:12]}, where this branch left {revision}"
    source = AtRevision(left, left.commit[:12])
    try:
        project = load_project(workspace.root, workspace.catalog, source=source)
        before = replace(workspace, project=project)
        changed = [
            comparison for comparison in comparisons if _is_changed(comparison, before, workspace)
        ]
    except InvalidFiles as error:
        return list(comparisons), f"the files {since}, cannot be read: {error.problems[0]}"
    if not changed:
        return [], f"no prompt changed {since}"
    total, left_out = len(comparisons), len(comparisons) - len(changed)
    return changed, f"{len(changed)} of {total} prompts changed {since}; {left_out} left out"


def _is_changed(comparison: PromptComparison, before: Workspace, now: Workspace) -> bool:
    """Whether anything about `comparison` changed."""
    if comparison.moves_environment:
        return True
    name, environment = comparison.prompt, comparison.environment
    prompt = before.project.prompts.get(name)
    here = [selected for selected in comparison.evalsets if selected.base_of is None]
    gating = [selected.name for selected in here]
    earlier = before.project.evalsets_of(name)
    # an evalset that is new, or that is gone or gates other prompts now
    if prompt is None or {*gating} - {*earlier} or {*earlier} - {*now.project.evalsets_of(name)}:
        return True
    target, ours = before.project.target(prompt), comparison.candidate.target
    if (target.digest, target.model) != (ours.digest, ours.model):
        return True
    return any(
        _gate(now, selected.evalset, environment) != _gate(before, evalset, environment)
        for selected, evalset in zip(here, before.project.load(gating), strict=True)
    )


def _gate(workspace: Workspace, evalset: Evalset, environment: str) -> object:
    """Return everything in the files that affects the verdict of an evalset."""
    return _checks(workspace, evalset, policy_in(workspace.project, evalset, environment))


def _checks(workspace: Workspace, evalset: Evalset, policy: Policy) -> object:
    """Return all that `evalset` checks of a prompt under `policy`."""
    selected = EvalsetSelection(evalset=evalset, cases=evalset.cases, policy=policy)
    organization = [
        (case.id, case.tags, case.critical, case.group, case.known_failing)
        for case in evalset.cases
    ]
    return evalset_facts(selected, workspace.scorers(evalset)), evalset.repeats, organization
