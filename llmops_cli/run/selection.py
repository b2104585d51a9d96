"""What the user selected to measure: names, filters, a sample, another model or baseline.

An address (`name@selector`) is resolved to a target here. A version's snapshot contains what was
released; URL, key, limits and price of its model come from today's llmops.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from llmops_cli.core.digest import digest, short
from llmops_cli.core.errors import Refused, UnknownName, suggestion
from llmops_cli.core.policy import Environment
from llmops_cli.core.prompt import Case, Evalset, Target
from llmops_cli.engine.budget import Budget
from llmops_cli.project.models import Weights, local_identity
from llmops_cli.project.project import Project
from llmops_cli.run.reuse import reuse_evidence
from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.registry import target_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTarget:
    """A target with its address: `support@working`, `support@v3`."""

    name: str
    target: Target
    version: int | None = None
    unavailable: str | None = None
    """Why it cannot be called here: the application that it was released with has changed."""
    at_base: bool = False
    """Whether it is the prompt at the base revision, with its recorded answers there."""
    evidence: tuple[str, ...] = ()
    """Digests of the evidence whose answers are its own."""


def resolve_target(
    workspace: Workspace, name: str, selector: str, *, at_base: bool = False
) -> ResolvedTarget:
    """Return the target that `name@selector` means.

    `at_base`: by the log as it stood at the base revision, where one was named.
    """
    if selector == "working":
        if name not in workspace.project.prompts:
            raise UnknownName("prompt", name, sorted(workspace.project.prompts))
        prompt = workspace.project.prompts[name]
        return ResolvedTarget(name=f"{name}@working", target=workspace.project.target(prompt))
    registry = workspace.base_registry if at_base else workspace.registry
    number = registry.resolve(name, selector)
    if at_base:
        workspace.refuse_replaced(workspace.registry.version_file(name, number))
    target = target_of(workspace.registry.version(name, number))
    resolved = _resolved(workspace, f"{name}@v{number}", target, version=number)
    called = resolved.unavailable is None
    results = workspace.results_of(resolved.target.model, called=called)
    return replace(resolved, evidence=reuse_evidence(workspace, name, number, results))


def resolve_target_at_base(workspace: Workspace, name: str) -> ResolvedTarget | None:
    """Return the prompt `name` as it is at the base revision; None: no base, or not there."""
    if workspace.rules is workspace.project or name not in workspace.rules.prompts:
        return None
    target = workspace.rules.target(workspace.rules.prompts[name])
    return _resolved(workspace, f"{name}@base", target, at_base=True)


def _resolved(
    workspace: Workspace,
    address: str,
    target: Target,
    *,
    version: int | None = None,
    at_base: bool = False,
) -> ResolvedTarget:
    """Return a snapshot's target with today's URL, key, limits and price of its model.

    An application or a local model that has changed here cannot be called: other code or other
    weights never answer for it.
    """
    frozen, known = target.model, workspace.project.models
    kind = workspace.provider(frozen)
    by_identity = kind.application or kind.weights  # its name alone doesn't say what answers
    same = [
        model
        for model in known.values()
        if (model.provider, model.model) == (frozen.provider, frozen.model)
        and (model.identity == frozen.identity or not by_identity)
    ]
    model, unavailable = frozen, None
    if same:
        reached = next((model for model in same if model.name == frozen.name), same[0])
        model = replace(
            frozen,
            name=reached.name,
            base_url=reached.base_url,
            api_key_env=reached.api_key_env,
            headers=reached.headers,
            options=reached.options if by_identity else frozen.options,
            limits=reached.limits,
            price=reached.price,
        )
    elif frozen.name in known:  # the alias means another model now
        model = replace(frozen, name=f"{frozen.provider}/{frozen.model}")
    if by_identity and not same:
        # served with other options today, its files may still be as they were
        weights = Weights(workspace.root, workspace.store) if kind.weights else None
        if weights is None or frozen.identity != local_identity(frozen, kind, weights):
            today = known.get(frozen.name)
            now = short(today.identity) if today and today.identity else "none"
            unavailable = (
                f"{address} cannot be called: what it ran is not here (identity "
                f"{short(frozen.identity or 'none')} ≠ {now}). Where it is, run "
                f"`llmops measure {address}`: its evidence has no such answer"
            )
    return ResolvedTarget(
        name=address,
        target=replace(target, model=model),
        version=version,
        unavailable=unavailable,
        at_base=at_base,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the user selected; empty means everything."""

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
    """`name[@selector]` to compare with instead, or the selector of a version."""
    baseline_model: str | None = None
    """Compare with the working prompt on this model instead."""

    @property
    def is_partial(self) -> bool:
        """Whether only some cases are selected."""
        return self.partial(0) is not None

    def partial(self, cases: int) -> str | None:
        """Say why a run of this selection, of so many `cases`, is no evidence; None: it is."""
        if self.tags:
            return f"only cases tagged {', '.join(self.tags)}"
        if self.cases:
            return f"only {cases} named case{'s' if cases != 1 else ''}"
        if self.sample is not None:
            return f"a sample of {self.sample} cases per evalset (seed {self.seed})"
        return None

    def cases_of(self, evalset: Evalset) -> Sequence[Case]:
        """Return the cases of `evalset` that pass the filters."""
        cases: Sequence[Case] = evalset.cases
        if self.cases:
            cases = [
                case
                for case in cases
                if any(case.id == name or fnmatchcase(case.id, name) for name in self.cases)
            ]
        if self.tags:
            cases = [case for case in cases if set(case.tags) & set(self.tags)]
        if self.sample is not None and self.sample < len(cases):
            # by the digest of their ids: an added case moves one at most
            ranks = {case.id: digest("llmops/sample/v1", [self.seed, case.id]) for case in cases}
            chosen = set(sorted(ranks, key=ranks.__getitem__)[: self.sample])
            cases = [case for case in cases if case.id in chosen]
        return cases

    def known_in(self, cases: Sequence[Case]) -> str:
        """Suggest tags that exist in `cases`, none of which matches the filters."""
        tags = sorted({tag for case in cases for tag in case.tags})
        for tag in self.tags:
            if tag not in tags:
                return suggestion(tag, tags) or "no case of these evalsets has a tag"
        known = suggestion("".join(self.cases[:1]), [case.id for case in cases])
        return known if self.cases and known else "each filter leaves some, all of them none"

    def rerun_command(self, address: str) -> str:
        """Return the command that measures `address` like this again, with every case."""
        name = address.partition("@")[0]
        if self.baseline_model is not None:
            words = ["llmops compare", self.baseline_model, self.model, "--prompt", name]
        elif self.baseline is not None and self.model is None:
            other, at, selector = self.baseline.partition("@")
            words = ["llmops compare", (other or name) + at + selector, address]
        else:
            words = ["llmops eval", address]
            flags = {"--model": self.model, "--baseline": self.baseline, "--env": self.environment}
            words += [word for pair in flags.items() if pair[1] is not None for word in pair]
        words += [word for name in self.evalsets for word in ("--evalset", name)]
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
    models: bool = False
    """Whether both are models, also where a prompt has the same name."""

    def selection(self, project: Project) -> Selection:
        """Return what that selects in `project`. Raises `UnknownName` for an unknown name."""
        prompts = () if self.models else project.prompts
        name, after = self.before.partition("@")[0], self.after
        if name in prompts and after not in prompts and is_selector(after, project):
            after = f"{name}@{after}"
        known = [name.partition("@")[0] in prompts for name in (self.before, after)]
        if all(known):
            return Selection(prompts=[after], evalsets=self.evalsets, baseline=self.before)
        if any(known):
            unknown = after if known[0] else self.before
            raise UnknownName("prompt", unknown, project.prompts)
        for model in (self.before, self.after):
            if model not in project.models and "/" not in model:
                raise UnknownName("prompt or model", model, [*project.prompts, *project.models])
        return Selection(
            prompts=self.prompts,
            evalsets=self.evalsets,
            model=self.after,
            baseline_model=self.before,
        )


LONGEST_RUN = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """The options of a run."""

    selection: Selection = field(default_factory=Selection)
    between: Between | None = None
    """Two things to compare, instead of a selection against what an environment runs."""
    base: str | None = None
    """Git revision at which policy and trust list are read."""
    changed: str | None = None
    """Only prompts that changed since the branch left this git revision."""
    require_baseline: bool = False
    strict: bool = False
    """Never accept INCONCLUSIVE, even if the policy does."""
    offline: bool = False
    no_cache: bool = False
    """Ignore the store: every answer and score is made again, and none is stored."""
    more_trials: int = 0
    """Trials of each case and side to add to those that are stored."""
    own_baseline: bool = False
    """Run baseline trials of the candidate as well: for the evidence of a version."""
    dry_run: bool = False
    budget: Budget | None = None
    reuse: Sequence[Path] = ()
    """Run files whose answers and scores are taken over first."""
    shard: Shard | None = None
    """Call only this part of the run, and decide nothing."""
    merge: Sequence[Path] = ()
    """Run files of all shards of a run: they are decided about, and nothing is called."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the run starts."""

    @property
    def start(self) -> str:
        """Return the start in UTC, ISO 8601: what was answered earlier is not of this run."""
        return self.now.isoformat(timespec="milliseconds")

    @property
    def end(self) -> str:
        """Return a time that no answer of this run can have."""
        return (self.now + LONGEST_RUN).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of a run, counted from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


_SELECTOR = re.compile(r"v[1-9][0-9]*|latest|working|sha256:.*|(?P<environment>[^~]+)(~[0-9]+)?")


def is_selector(text: str, project: Project) -> bool:
    """Return whether `text` names a version without its prompt: `v3`, `production~1`, `latest`."""
    match = _SELECTOR.fullmatch(text)
    name = match and match["environment"]
    return match is not None and (
        name is None or name in {environment.name for environment in project.environments}
    )


def environment_of(project: Project, name: str | None) -> Environment:
    """Return the environment called `name`, or the last in promotion order."""
    if name is None:
        return project.environments[-1]
    for environment in project.environments:
        if environment.name == name:
            return environment
    raise UnknownName("environment", name, [known.name for known in project.environments])


def addresses_of(workspace: Workspace, selection: Selection) -> list[str]:
    """Return the selected prompts as `name` or `name@selector`. Raises `UnknownName`."""
    project = workspace.project
    environments = {environment.name for environment in project.environments}
    if not project.prompts:
        raise Refused(
            "nothing to measure: the project has no prompts",
            hint="a prompt is a file prompts/NAME.prompt.yml",
        )
    if not selection.prompts:
        return sorted(name for name in project.prompts if project.evalsets_of(name))
    chosen: dict[str, None] = {}
    for address in selection.prompts:
        name, at, selector = address.partition("@")
        if address in environments:
            running = (f"{prompt}@{address}" for prompt in workspace.registry.running(address))
            chosen.update(dict.fromkeys(running))
            continue
        matches = [prompt for prompt in sorted(project.prompts) if fnmatchcase(prompt, name)]
        if not matches:
            raise UnknownName("prompt", name, [*project.prompts, *environments])
        chosen.update(dict.fromkeys(prompt + at + selector for prompt in matches))
    if not chosen:
        raise Refused(
            f"nothing runs in {', '.join(selection.prompts)} yet",
            hint="llmops release NAME, llmops measure NAME@v1, llmops promote NAME@v1 --initial",
        )
    return list(chosen)
