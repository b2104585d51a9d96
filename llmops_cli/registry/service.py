"""`release`, `promote`, `status` and `gc` on an opened project: its files beside its registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import Anchor
from llmops_cli.core.prompt import Model
from llmops_cli.core.release import EvalsetFacts, Version
from llmops_cli.judges.calibration_index import CalibrationIndex
from llmops_cli.judges.gating import instruments, vet_judges
from llmops_cli.project.paths import MAX_FILE
from llmops_cli.project.policy import policy_of
from llmops_cli.registry import promote as promotions
from llmops_cli.registry import release as releases
from llmops_cli.registry import status as standings
from llmops_cli.registry.gc import Cleared, gc
from llmops_cli.registry.measure import number_of
from llmops_cli.run.comparison import EvalsetSelection, contests
from llmops_cli.run.evalset_facts import evalset_facts
from llmops_cli.run.selection import Selection, environment_of
from llmops_cli.run.workspace import Workspace, now, provenance, run_url

PROMPTS = "prompts"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionFlags:
    """What a person answers for when they promote."""

    reason: str | None = None
    initial: bool = False
    accept_inconclusive: bool = False
    accept_breaking: bool = False
    override: bool = False


def release(workspace: Workspace, names: Sequence[str]) -> list[releases.Released]:
    """Versions of the working copy's prompts `names`; all of them where none is named."""
    project = workspace.project
    unknown = [name for name in names if name not in project.prompts]
    if unknown:
        raise UnknownName("prompt", unknown[0], sorted(project.prompts))
    made = []
    for name in names or sorted(project.prompts):
        prompt = project.prompts[name]
        target = project.target(prompt)
        _demand_identity(workspace, target.model)
        paths = [prompt.path, *(f"{PROMPTS}/{path}" for path in prompt.includes)]
        sources = {
            path.removeprefix(f"{PROMPTS}/"): project.source.read(path, limit=MAX_FILE)
            for path in paths
        }
        made.append(
            releases.release(
                workspace.registry,
                target,
                sources,
                provenance(workspace.root, workspace.environ),
                redact=workspace.redact,
            )
        )
    return made


def _demand_identity(workspace: Workspace, model: Model) -> None:
    """A version says what it is, and of an application its prompt does not say enough."""
    if workspace.provider(model).application and model.identity is None:
        raise Refused(
            f"{model.where}: {model.name!r} has no `identity`, so no version can say what it ran",
            hint="identity: {files: [app/**/*.py]}, or {revision: …} where it runs elsewhere",
        )


def changed(workspace: Workspace, environment: str | None) -> list[str]:
    """The prompts whose working copy an environment (None: the last) does not run.

    Without those whose working copy is a version under quarantine: nothing can promote it.
    """
    place = environment_of(workspace.project, environment).name
    return [
        each.prompt
        for each in status(workspace)
        if not each.gone
        and each.working not in each.quarantined
        and (each.ahead or each.working != _running(each, place))
    ]


def _running(prompt: standings.PromptStatus, environment: str) -> int | None:
    return next(each.version for each in prompt.standings if each.environment == environment)


def promote(
    workspace: Workspace, address: str, *, environment: str | None, word: PromotionFlags
) -> promotions.Promotion:
    """Moves an environment to the version at `address`, if the evidence lets it."""
    name, _, selector = address.partition("@")
    number = number_of(workspace, name, selector)
    place = environment_of(workspace.project, environment)
    wish = promotions.PromotionRequest(
        name=name,
        number=number,
        environment=place,
        asked=() if word.override else _asked(workspace, name, number, place.name),
        actor=workspace.actor(),
        at=now(),
        run_url=run_url(workspace.environ),
        reason=word.reason,
        initial=word.initial,
        accept_inconclusive=word.accept_inconclusive,
        accept_breaking=word.accept_breaking,
        override=word.override,
    )
    return promotions.promote(workspace.registry, wish)


def carries(workspace: Workspace, version: Version) -> bool:
    """Whether the working copy is still what `version` froze."""
    prompt = workspace.project.prompts.get(version.name)
    return prompt is not None and workspace.project.target(prompt).digest == version.target


def status(workspace: Workspace) -> tuple[standings.PromptStatus, ...]:
    """Every prompt over every environment."""
    project = workspace.project
    working = {name: project.target(prompt) for name, prompt in project.prompts.items()}
    environments = [each.name for each in project.environments]
    judges = CalibrationIndex(root=workspace.root)
    return standings.status(workspace.registry, environments, working, judges)


def _asked(
    workspace: Workspace, name: str, number: int, environment: str
) -> Sequence[EvalsetFacts]:
    """What the project asks of the prompt today. Raises `Refused` for a judge that may not gate."""
    if not workspace.project.evalsets_of(name):
        raise Refused(
            f"no evalset gates {name}: there is nothing that could let it pass",
            hint=f"write evalsets/{name}.yaml, or promote with --override -m WHY",
        )
    selection = Selection(prompts=[f"{name}@v{number}"], environment=environment)
    (contest,) = contests(workspace, selection)
    return [_facts(workspace, each) for each in contest.rounds]


def _facts(workspace: Workspace, this: EvalsetSelection) -> EvalsetFacts:
    scorers = workspace.scorers(this.evalset)
    gating = instruments(workspace.root, this.evalset.name, scorers, this.policy)
    vet_judges(gating, this.policy)
    return evalset_facts(this, scorers, gating=gating)


def clear(workspace: Workspace, *, dry_run: bool) -> tuple[Cleared, ...]:
    """Clears away what nothing cites, or says what would be."""
    return gc(workspace.registry, _anchors(workspace), dry_run=dry_run)


def _anchors(workspace: Workspace) -> Mapping[str, set[int]]:
    """The versions that a policy of the project compares with, by prompt."""
    project = workspace.project
    found: dict[str, set[int]] = {}
    for header in project.evalsets.values():
        for environment in project.environments:
            policy = policy_of(project.gate, header.gate, environment.gate)
            pinned = [rule.version for rule in policy.rules if isinstance(rule, Anchor)]
            for name in header.prompts:
                released = workspace.registry.numbers(name)
                numbers = {workspace.registry.resolve(name, each) for each in pinned if released}
                found.setdefault(name, set()).update(numbers)
    return found
