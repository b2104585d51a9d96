"""`release`, `promote` and `status` on an opened project: its files beside its registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.release import EvalsetFacts, Event, Provenance, Version
from llmops_cli.files.paths import MAX_FILE
from llmops_cli.flows import promote as promotions
from llmops_cli.flows import release as releases
from llmops_cli.flows import rollback as rollbacks
from llmops_cli.flows import status as standings
from llmops_cli.flows import verify as verifying
from llmops_cli.flows.contest import Selection, contests, environment_of
from llmops_cli.flows.measure import evalset_facts, number_of
from llmops_cli.flows.revision import open_git
from llmops_cli.flows.scoring import Scorers
from llmops_cli.flows.verify import Verification
from llmops_cli.flows.workspace import Workspace

PROMPTS = "prompts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
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
    redact = workspace.redact
    made = []
    for name in names or sorted(project.prompts):
        prompt = project.prompts[name]
        paths = [prompt.path, *(f"{PROMPTS}/{path}" for path in prompt.includes)]
        sources = {
            path.removeprefix(f"{PROMPTS}/"): project.source.read(path, limit=MAX_FILE)
            for path in paths
        }
        target = project.target(prompt)
        made.append(
            releases.release(
                workspace.registry, target, sources, _provenance(workspace), redact=redact
            )
        )
    return made


def promote(
    workspace: Workspace, address: str, *, environment: str | None, word: Word
) -> promotions.Promotion:
    """Moves an environment to the version at `address`, if the evidence lets it."""
    name, _, selector = address.partition("@")
    number = number_of(workspace, name, selector)
    place = environment_of(workspace.project, environment)
    wish = promotions.Wish(
        name=name,
        number=number,
        environment=place,
        asked=_asked(workspace, name, number, place.name),
        actor=workspace.actor(),
        at=_now(),
        run_url=_run_url(workspace),
        reason=word.reason,
        initial=word.initial,
        accept_inconclusive=word.accept_inconclusive,
        accept_breaking=word.accept_breaking,
        override=word.override,
    )
    return promotions.promote(workspace.registry, wish)


def rollback(
    workspace: Workspace, address: str, *, to: str | None, reason: str | None
) -> rollbacks.RolledBack:
    """Moves the environment in `name@environment` back. `to` is `v2`; None: the one before."""
    name, _, place = address.partition("@")
    environment = environment_of(workspace.project, place or None)
    number = None if to is None else workspace.registry.resolve(name, to)
    retreat = rollbacks.Retreat(
        name=name,
        environment=environment.name,
        to=number,
        reason=reason,
        actor=workspace.actor(),
        at=_now(),
        run_url=_run_url(workspace),
    )
    return rollbacks.rollback(workspace.registry, retreat)


def carries(workspace: Workspace, version: Version) -> bool:
    """Whether the working copy is still what `version` froze."""
    prompt = workspace.project.prompts.get(version.name)
    return prompt is not None and workspace.project.target(prompt).digest == version.target


def history(workspace: Workspace, address: str) -> list[Event]:
    """Every event of a prompt, newest first: in one environment, or in all of them."""
    name, _, place = address.partition("@")
    environments = [each.name for each in workspace.project.environments]
    if place:
        environments = [environment_of(workspace.project, place).name]
    events = [each for one in environments for each in workspace.registry.history(one, name)]
    if not events and name not in {*workspace.project.prompts, *workspace.registry.names()}:
        raise UnknownName("prompt", name, sorted(workspace.project.prompts))
    return events[::-1]


def verify(workspace: Workspace, environment: str | None) -> Verification:
    """Proves what an environment runs, with neither git nor network."""
    place = environment_of(workspace.project, environment)
    return verifying.verify(workspace.registry, place)


def status(workspace: Workspace) -> tuple[standings.PromptStatus, ...]:
    """Every prompt over every environment."""
    project = workspace.project
    working = {name: project.target(prompt) for name, prompt in project.prompts.items()}
    environments = [each.name for each in project.environments]
    return standings.status(workspace.registry, environments, working)


def _asked(
    workspace: Workspace, name: str, number: int, environment: str
) -> Sequence[EvalsetFacts]:
    """What the project asks of the prompt today."""
    if not workspace.project.evalsets_of(name):
        raise Refused(
            f"no evalset gates {name}: there is nothing that could let it pass",
            hint=f"write evalsets/{name}.yaml, or promote with --override -m WHY",
        )
    selection = Selection(prompts=[f"{name}@v{number}"], environment=environment)
    (contest,) = contests(workspace, selection)
    return [
        evalset_facts(each, Scorers(workspace.catalogue, each.evalset, workspace.read))
        for each in contest.rounds
    ]


def _provenance(workspace: Workspace) -> Provenance:
    checkout = open_git(workspace.root)
    return Provenance(by=workspace.actor(), at=_now(), commit=checkout.head() if checkout else None)


def _run_url(workspace: Workspace) -> str | None:
    """The page of the CI run that promotes, where there is one."""
    environ = workspace.environ
    if environ.get("GITHUB_RUN_ID"):
        server, repository = environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_REPOSITORY")
        return f"{server}/{repository}/actions/runs/{environ['GITHUB_RUN_ID']}"
    return environ.get("CI_JOB_URL") or environ.get("BUILD_URL")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
