"""Move an environment: promote a version if its committed evidence allows it, or roll back.

A promotion calls no model. The evidence is decided again under the environment's own policy and
against the version that runs there now. Either one event is written, or nothing is and the result
names the command that helps.

| the evidence | what happens | exit |
|---|---|---|
| passes | promoted | 0 |
| fails | refused | 1 |
| is missing, or does not cover the current evalsets | refused, names `measure` | 3 |
| is inconclusive | refused, unless accepted with a reason and the environment allows that | 4 |

A rollback is immediate: no eval, no network, no question about evidence. The version that is left
is quarantined: `promote` refuses it until somebody overrides that on the record. Only the registry
is read, so an invalid project file does not stop a rollback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmops_cli.core.errors import ExitCode, IntegrityBroken, LlmopsError, Refused, UnknownName
from llmops_cli.core.policy import Decision, Environment, Verdict
from llmops_cli.core.prompt import Prompt
from llmops_cli.core.records import EvalsetFacts, Event, Evidence, Version
from llmops_cli.gate.calibration import refuse_unfit_judges
from llmops_cli.project.project import find_root
from llmops_cli.registry.deliver import Delivery, EventChain, EventOrigin, deliver
from llmops_cli.registry.recompute import MissingEvidence, RecomputedVerdict, recompute
from llmops_cli.registry.release import released_number
from llmops_cli.run.comparison import compare_prompts, evalset_facts
from llmops_cli.run.selection import Selection, environment_of
from llmops_cli.run.workspace import Workspace, open_project, open_workspace
from llmops_cli.stores.evidence import has_rows
from llmops_cli.stores.registry import Registry

_RULES_ABOUT_A_BASELINE = frozenset({"no_worse", "regressed", "cost", "tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRequest:
    """Which version to promote, where to, and what the user accepts."""

    address: str
    """`support@v3`."""
    environment: str | None = None
    """None: the last one of llmops.yaml."""
    reason: str | None = None
    initial: bool = False
    accept_inconclusive: bool = False
    accept_breaking: bool = False
    """Callers may have to pass other inputs than they do now."""
    override: bool = False
    """Bypass the evidence, and lift a quarantine; permanently recorded."""
    delivery: Delivery = field(default_factory=Delivery)

    @property
    def name(self) -> str:
        """The prompt."""
        return self.address.partition("@")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The result of a promotion. `event` is None where nothing was written."""

    exit_code: ExitCode
    why: str
    hint: str | None = None
    event: Event | None = None
    verdict: Verdict | None = None
    evidence: Evidence | None = None


def promote(start: Path, request: PromotionRequest, *, environ: Mapping[str, str]) -> Promotion:
    """Promote a version and deliver the event to git, or say why not.

    Raises `UnknownName` for a version that does not exist, `Refused` for what no evidence can
    change (quarantine, order of environments, inputs, a missing reason) or where somebody else
    moved the environment meanwhile, `IntegrityBroken` where the registry was tampered with,
    `Unmeasured` where git cannot be reached. Then nothing was promoted.
    """
    root = find_root(start)
    name = environment_of(open_project(root), request.environment).name

    def write_event() -> Promotion:
        with open_workspace(root, environ=environ) as workspace:
            registry = workspace.registry
            number = released_number(registry, request.address)
            return append_promotion(
                registry,
                replace(request, address=f"{request.name}@v{number}"),
                environment_of(workspace.project, name),
                evalsets=[] if request.override else _gating_evalsets(workspace, request, name),
                origin=EventOrigin.of(root, environ),
            )

    chain = EventChain(registry=Registry(root), environment=name, prompt=request.name)
    return deliver(root, request.delivery, chain, write_event, reads_project=True)


def _gating_evalsets(
    workspace: Workspace, request: PromotionRequest, environment: str
) -> list[EvalsetFacts]:
    """Return the evalsets that gate the prompt now, each with the environment's policy.

    Raises `Refused` if none gates it, or for a judge that may not gate.
    """
    if not workspace.project.evalsets_of(request.name):
        raise Refused(
            f"no evalset gates {request.name}: nothing could let it pass",
            hint=f"write evalsets/{request.name}.yaml, or promote with --override -m WHY",
        )
    selection = Selection(prompts=[request.address], environment=environment)
    (comparison,) = compare_prompts(workspace, selection)
    evalsets = []
    for selected in comparison.evalsets:
        scorers = workspace.scorers(selected.evalset)
        judges = workspace.gating_judges(selected.evalset.name, scorers, selected.policy)
        refuse_unfit_judges(judges, selected.policy)
        evalsets.append(evalset_facts(selected, scorers, gating=judges))
    return evalsets


def append_promotion(
    registry: Registry,
    request: PromotionRequest,
    environment: Environment,
    *,
    evalsets: Sequence[EvalsetFacts],
    origin: EventOrigin,
) -> Promotion:
    """Append the promotion event to the registry, or say why not.

    `evalsets` are all that gate the prompt now; empty if the promotion is an override.
    Raises as `promote` does.
    """
    chain = EventChain(registry=registry, environment=environment.name, prompt=request.name)
    version = registry.version(request.name, released_number(registry, request.address))
    current = chain.pointer()
    running = None if current is None else registry.moved_to(current)
    if running is not None and running.number == version.number:
        return Promotion(
            exit_code=ExitCode.DONE, why="it runs there already: nothing to do", event=current
        )
    _refuse_without_reason(request, environment.name, version, running)
    came_from = _event_of_previous_environment(
        registry, environment, version, override=request.override
    )
    event = replace(
        chain.next_event("override" if request.override else "promote", version, origin),
        came_from=came_from,
        initial=running is None,
        reason=request.reason,
    )
    if request.override:
        registry.append(event)
        why = "promoted by override: no evidence was needed"
        return Promotion(exit_code=ExitCode.DONE, why=why, event=event)
    _refuse_unfit(registry, request, version, running)
    measure = f"llmops measure {version.address} --to {environment.name}"
    answer = _newest_verdict(registry, version, running, evalsets)
    if isinstance(answer, MissingEvidence):
        why = "; ".join(answer.why)
        return Promotion(exit_code=ExitCode.INCOMPLETE, why=why, hint=measure)
    promotion = _decide(answer, request, environment, running, measure)
    if promotion.exit_code is not ExitCode.DONE:
        return promotion
    verdict = answer.verdict
    event = replace(
        event,
        evidence=(answer.evidence.digest,),
        baseline_evidence=answer.baseline_evidence,
        decision=verdict.decision,
        judged_by=tuple(evalsets),
        accept_inconclusive=(
            verdict.decision is Decision.INCONCLUSIVE
            and not _lacks_only_a_baseline(verdict, running)
        ),
    )
    registry.append(event)
    return replace(promotion, event=event)


def _newest_verdict(
    registry: Registry,
    version: Version,
    running: Version | None,
    evalsets: Sequence[EvalsetFacts],
) -> RecomputedVerdict | MissingEvidence:
    """Return the verdict of the newest evidence that covers `evalsets`."""
    newest: MissingEvidence | None = None
    for evidence in reversed(registry.evidence(version.name, version.number)):
        if not has_rows(evidence):
            continue
        if evidence.candidate.target != version.target:
            raise IntegrityBroken(
                f"it is not about what {version.address} sends",
                where=str(evidence.file),
                hint="restore it from git, or measure the version again",
            )
        answer = recompute(registry, evidence, running, evalsets)
        if isinstance(answer, RecomputedVerdict):
            return answer
        newest = newest or answer
    if newest is None:
        return MissingEvidence(why=(f"{version.address} has no evidence",))
    return replace(newest, why=(f"the evidence of {version.address} is not enough", *newest.why))


def _decide(
    answer: RecomputedVerdict,
    request: PromotionRequest,
    environment: Environment,
    running: Version | None,
    measure: str,
) -> Promotion:
    """Return what the verdict allows; its event is not written yet."""
    verdict = answer.verdict
    exit_code, hint = ExitCode.DONE, None
    look = f"llmops eval {request.address} --env {environment.name} --dry-run"
    match verdict.decision:
        case Decision.FAIL:
            exit_code = ExitCode.FAILED
        case Decision.INCOMPLETE:
            exit_code, hint = ExitCode.INCOMPLETE, measure
        case Decision.INCONCLUSIVE if not _lacks_only_a_baseline(verdict, running):
            if environment.accept == "pass":
                exit_code = ExitCode.INCONCLUSIVE
                hint = f"{look}   # {environment.name} accepts only PASS: add cases"
            elif not request.accept_inconclusive:
                exit_code = ExitCode.INCONCLUSIVE
                accept = f"llmops promote {request.address} --to {environment.name}"
                hint = f"{accept} --accept-inconclusive -m WHY   # or add cases"
    return Promotion(
        exit_code=exit_code, why=verdict.why, hint=hint, verdict=verdict, evidence=answer.evidence
    )


def _lacks_only_a_baseline(verdict: Verdict, running: Version | None) -> bool:
    """Return whether it is a first promotion that only rules about a baseline leave open."""
    open_rules = {
        finding.rule for finding in verdict.findings if finding.decision is Decision.INCONCLUSIVE
    }
    return running is None and bool(open_rules) and open_rules <= _RULES_ABOUT_A_BASELINE


def _refuse_without_reason(
    request: PromotionRequest, environment: str, version: Version, running: Version | None
) -> None:
    if running is None and not request.initial and not request.override:
        raise Refused(
            f"{environment} does not run {request.name} yet: nothing to compare "
            f"v{version.number} with",
            hint=f"llmops promote {version.address} --to {environment} --initial -m WHY",
        )
    if request.initial and running is not None:
        raise Refused(
            f"--initial: {environment} runs {running.address} already", hint="remove --initial"
        )
    for flag in ("override", "initial", "accept_inconclusive"):
        if not request.reason and getattr(request, flag):
            option = f"--{flag.replace('_', '-')}"
            raise Refused(f"{option} is recorded with a reason", hint=f"{option} -m WHY")


def _event_of_previous_environment(
    registry: Registry, environment: Environment, version: Version, *, override: bool
) -> str | None:
    """Return the digest of the event that moved the environment before this one to `version`."""
    previous = environment.after
    if previous is None:
        return None
    for event in reversed(registry.history(previous, version.name)):
        if event.to_version is not None and event.to_version.number == version.number:
            return event.digest
    if override:
        return None
    raise Refused(
        f"{environment.name} comes after {previous}, which has not run {version.address}",
        hint=f"llmops promote {version.address} --to {previous}",
    )


def _refuse_unfit(
    registry: Registry, request: PromotionRequest, version: Version, running: Version | None
) -> None:
    """Raise `Refused` for a quarantined version, and for one that would break callers."""
    if version.number in registry.quarantined(version.name):
        raise Refused(
            f"{version.address} is quarantined: it was rolled back",
            hint="release a better version; --override -m WHY lifts the quarantine and is recorded",
        )
    changes = breaking_changes(running.prompt, version.prompt) if running else []
    if changes and not request.accept_breaking:
        raise Refused(
            f"callers of {version.name} would break: {'; '.join(changes)}",
            hint="make the input optional, or change the callers first and use --accept-breaking",
        )


def breaking_changes(old: Prompt, new: Prompt) -> list[str]:
    """Return one sentence for each way in which calls that suit `old` are wrong for `new`."""
    removed = [f"the input {name!r} was removed" for name in old.inputs if name not in new.inputs]
    required = [
        f"the input {name!r} is now required"
        for name, schema in new.inputs.items()
        if schema.get("required", True)
        and not (name in old.inputs and old.inputs[name].get("required", True))
    ]
    changed = [
        f"the input {name!r} has another schema"
        for name, schema in new.inputs.items()
        if name in old.inputs and _constraints(schema) != _constraints(old.inputs[name])
    ]
    return [*removed, *required, *changed]


def _constraints(schema: object) -> object:
    """Return what `schema` demands of a value, without what only documents it."""
    assert isinstance(schema, Mapping)
    ignored = {"required", "description", "title", "default", "literals", "examples"}
    return {key: value for key, value in schema.items() if key not in ignored}


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackRequest:
    """Which prompt to roll back, where, and why."""

    address: str
    """`support@production`; without an environment, the last one of llmops.yaml."""
    to: str | None = None
    """The version to return to (`v2`); None: the last distinct one that is not quarantined."""
    reason: str | None = None
    delivery: Delivery = field(default_factory=Delivery)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """The event that was written, and what callers of the prompt must know."""

    event: Event
    left: Version
    now: Version
    breaking: tuple[str, ...]
    """How calls that suit the version that was left are wrong now."""
    still_in_working_copy: bool = False
    """Whether the working copy is still the version that was rolled back."""


def rollback(start: Path, request: RollbackRequest, *, environ: Mapping[str, str]) -> Rollback:
    """Roll back and deliver the event to git.

    Raises `Refused` if nothing runs there, no reason is given, there is nothing to return to
    or somebody else moved the environment meanwhile; `UnknownName` for a version that does not
    exist; `IntegrityBroken` for a broken registry; `Unmeasured` where git cannot be reached.
    """
    root = find_root(start)
    registry = Registry(root)
    name, _, environment = request.address.partition("@")
    environment = environment or environment_of(open_project(root), None).name
    known = registry.environments()
    if known and environment not in known:
        raise UnknownName("environment", environment, known)
    chain = EventChain(registry=registry, environment=environment, prompt=name)

    def write_event() -> Rollback:
        current = chain.pointer()
        if current is None:
            raise Refused(f"{environment} does not run {name}")
        if not request.reason:
            raise Refused("a rollback is recorded with a reason", hint="say why: -m WHY")
        assert current.to_version is not None
        left = registry.version(name, current.to_version.number)
        now = registry.moved_to(_destination(chain, request.to, left.number))
        origin = EventOrigin.of(root, environ)
        event = replace(chain.next_event("rollback", now, origin), reason=request.reason)
        registry.append(event)
        breaking = breaking_changes(left.prompt, now.prompt)
        return Rollback(event=event, left=left, now=now, breaking=tuple(breaking))

    rolled_back = deliver(root, request.delivery, chain, write_event, reads_project=False)
    return replace(rolled_back, still_in_working_copy=_is_in_working_copy(root, rolled_back.left))


def _destination(chain: EventChain, to: str | None, running: int) -> Event:
    """Return the event that once moved the environment to the version to return to."""
    last_moves: dict[int, Event] = {}
    for event in reversed(chain.events()):
        if event.to_version is not None:
            last_moves.setdefault(event.to_version.number, event)
    if to is not None:
        number = chain.registry.resolve(chain.prompt, to)
        if number == running:
            raise Refused(f"{chain.environment} runs v{running} already")
        if number not in last_moves:
            raise Refused(
                f"{chain.environment} has never run {chain.prompt}@v{number}",
                hint="a rollback returns to an earlier version; llmops promote moves to a new one",
            )
        return last_moves[number]
    quarantined = chain.registry.quarantined(chain.prompt)
    for number, event in last_moves.items():
        if number != running and number not in quarantined:
            return event
    raise Refused(
        f"{chain.environment} has run no other version of {chain.prompt} that is not quarantined",
        hint=f"llmops promote {chain.prompt}@vN --override -m WHY moves it to any version at once",
    )


def _is_in_working_copy(root: Path, version: Version) -> bool:
    """Return whether the working copy is `version`; False if the project cannot be read."""
    try:
        project = open_project(root)
    except LlmopsError:
        return False
    prompt = project.prompts.get(version.name)
    return prompt is not None and project.target(prompt).digest == version.target
