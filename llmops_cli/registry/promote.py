"""Moves an environment to a version, if the committed evidence lets it: offline, and recorded.

The evidence is decided again under the environment's own policy and against what it runs at this
moment. Either one event is written, or nothing is and the answer says which command helps.

| the evidence | what happens | exit |
|---|---|---|
| passes | promoted | 0 |
| fails | refused | 1 |
| is missing, or does not answer what is asked now | refused, names `measure` | 3 |
| cannot tell | refused, unless accepted with a reason and the environment takes that | 4 |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmops_cli.core.errors import ExitCode, IntegrityBroken, Refused
from llmops_cli.core.policy import Environment
from llmops_cli.core.prompt import Prompt
from llmops_cli.core.release import EvalsetFacts, Event, Evidence, Version, VersionRef
from llmops_cli.core.verdict import Decision, Verdict
from llmops_cli.registry.recompute import Decided, Gaps, recompute
from llmops_cli.stores.registry import Registry

_NEED_A_BASELINE = frozenset({"no_worse", "regressed", "cost", "tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRequest:
    """Who wants which version where, and what they are ready to answer for."""

    name: str
    number: int
    environment: Environment
    asked: Sequence[EvalsetFacts]
    """Every evalset that gates the prompt now, with the environment's policy for each; none where
    it is overridden."""
    actor: str
    at: str
    """UTC, ISO 8601."""
    run_url: str | None = None
    reason: str | None = None
    initial: bool = False
    accept_inconclusive: bool = False
    accept_breaking: bool = False
    """Callers may have to pass other inputs than they do now."""
    override: bool = False
    """Promote whatever the evidence says, and lift a quarantine: recorded, loud ever after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What came of a wish. `event` is None where nothing was written."""

    exit_code: ExitCode
    why: str
    hint: str | None = None
    event: Event | None = None
    verdict: Verdict | None = None
    evidence: Evidence | None = None

    def priced(self, price: str) -> Promotion:
        """The same no, with what its hint would cost."""
        return replace(self, hint=f"{self.hint}   ({price})" if self.hint else price)


def promote(registry: Registry, wish: PromotionRequest) -> Promotion:
    """Promotes, or says why not.

    Raises `UnknownName` for a version that is not there, `Refused` for what no evidence can
    change (quarantine, order of environments, inputs, a missing reason), `IntegrityBroken` where
    the registry was tampered with.
    """
    version = registry.version(wish.name, wish.number)
    chain = registry.history(wish.environment.name, wish.name)
    current = registry.pointer(wish.environment.name, wish.name)
    running = None if current is None else registry.moved_to(current)
    if running is not None and running.number == version.number:
        return Promotion(
            exit_code=ExitCode.DONE,
            why="it runs there already: nothing to do",
            event=current,
        )
    _refuse_without_reason(wish, running)
    came_from = _came_from(registry, wish)
    if not wish.override:
        _refuse_quarantined(registry, wish)
        _refuse_breaking(wish, version, running)
    answer = _override() if wish.override else _decided(registry, wish, version, running)
    if answer.exit_code is not ExitCode.DONE:
        return answer.promotion()
    event = Event(
        seq=len(chain) + 1,
        environment=wish.environment.name,
        prompt=wish.name,
        action="override" if wish.override else "promote",
        from_version=current.to_version if current else None,
        to_version=VersionRef(number=version.number, digest=version.digest),
        previous=chain[-1].digest if chain else None,
        evidence=answer.cited,
        baseline_evidence=answer.cited_for_baseline,
        came_from=came_from,
        decision=answer.verdict.decision if answer.verdict else None,
        judged_by=answer.decided.judged_by if answer.decided else (),
        initial=running is None,
        accept_inconclusive=answer.accepted,
        reason=wish.reason,
        actor=wish.actor,
        run_url=wish.run_url,
        at=wish.at,
    )
    registry.append(event)
    return answer.promotion(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    exit_code: ExitCode
    why: str
    hint: str | None = None
    decided: Decided | None = None
    accepted: bool = False
    """It was inconclusive, and somebody answers for it."""

    @property
    def verdict(self) -> Verdict | None:
        return self.decided.verdict if self.decided else None

    @property
    def cited(self) -> tuple[str, ...]:
        return (self.decided.evidence.digest,) if self.decided else ()

    @property
    def cited_for_baseline(self) -> tuple[str, ...]:
        if self.decided is None or self.decided.opponent is None:
            return ()
        other = self.decided.opponent.evidence.digest
        return () if other in self.cited else (other,)

    def promotion(self, event: Event | None = None) -> Promotion:
        return Promotion(
            exit_code=self.exit_code,
            why=self.why,
            hint=self.hint,
            event=event,
            verdict=self.verdict,
            evidence=self.decided.evidence if self.decided else None,
        )


def _override() -> _Answer:
    return _Answer(exit_code=ExitCode.DONE, why="promoted by override: no evidence was asked")


def _decided(
    registry: Registry, wish: PromotionRequest, version: Version, running: Version | None
) -> _Answer:
    """The newest evidence that answers what is asked, and what its verdict allows."""
    measure = f"llmops measure {version.address} --to {wish.environment.name}"
    gaps: list[Gaps] = []
    for evidence in reversed(registry.evidence(version.name, version.number)):
        if not registry.has_rows(evidence):
            continue
        if evidence.subject.target != version.target:
            raise IntegrityBroken(
                f"it is not about what {version.address} sends",
                where=str(registry.evidence_file(evidence)),
                hint="restore it from git, or measure the version again",
            )
        found = recompute(registry, evidence, running, wish.asked)
        if isinstance(found, Decided):
            return _judged(found, wish, running, measure)
        gaps.append(found)
    if not gaps:
        why = f"{version.address} has no evidence"
        return _Answer(exit_code=ExitCode.INCOMPLETE, why=why, hint=measure)
    why = f"the evidence of {version.address} does not answer: {'; '.join(gaps[0].why)}"
    return _Answer(exit_code=ExitCode.INCOMPLETE, why=why, hint=measure)


def _judged(
    found: Decided, wish: PromotionRequest, running: Version | None, measure: str
) -> _Answer:
    verdict = found.verdict
    match verdict.decision:
        case Decision.PASS:
            return _Answer(exit_code=ExitCode.DONE, why=verdict.why, decided=found)
        case Decision.FAIL:
            return _Answer(exit_code=ExitCode.FAILED, why=verdict.why, decided=found)
        case Decision.INCOMPLETE:
            return _Answer(
                exit_code=ExitCode.INCOMPLETE, why=verdict.why, hint=measure, decided=found
            )
        case Decision.INCONCLUSIVE:
            return _inconclusive(found, wish, running)


def _inconclusive(found: Decided, wish: PromotionRequest, running: Version | None) -> _Answer:
    """Accepted as a first promotion where only a baseline lacks, or by someone's word."""
    why = found.verdict.why
    open_rules = {
        each.rule for each in found.verdict.findings if each.decision is Decision.INCONCLUSIVE
    }
    if running is None and open_rules and open_rules <= _NEED_A_BASELINE:
        return _Answer(exit_code=ExitCode.DONE, why=why, decided=found)
    if wish.environment.accept == "pass":
        hint = f"{wish.environment.name} accepts nothing but PASS: add cases, or a larger margin"
        return _Answer(exit_code=ExitCode.INCONCLUSIVE, why=why, hint=hint, decided=found)
    if not wish.accept_inconclusive:
        hint = "add cases, or answer for it: --accept-inconclusive -m WHY"
        return _Answer(exit_code=ExitCode.INCONCLUSIVE, why=why, hint=hint, decided=found)
    return _Answer(exit_code=ExitCode.DONE, why=why, decided=found, accepted=True)


def _refuse_without_reason(wish: PromotionRequest, running: Version | None) -> None:
    place = wish.environment.name
    if running is None and not wish.initial and not wish.override:
        raise Refused(
            f"{place} does not run {wish.name} yet: nothing to compare v{wish.number} with",
            hint=f"llmops promote {wish.name}@v{wish.number} --to {place} --initial -m WHY",
        )
    if wish.initial and running is not None:
        raise Refused(
            f"--initial: {place} runs {running.address} already", hint="leave --initial out"
        )
    if not wish.reason and (wish.initial or wish.accept_inconclusive or wish.override):
        flag = "--initial" if wish.initial else "--accept-inconclusive"
        flag = "--override" if wish.override else flag
        raise Refused(f"{flag} is recorded with a reason", hint=f"{flag} -m WHY")


def _refuse_quarantined(registry: Registry, wish: PromotionRequest) -> None:
    if wish.number in registry.quarantined(wish.name):
        raise Refused(
            f"{wish.name}@v{wish.number} is quarantined: it was rolled back",
            hint="release a better version; --override -m WHY lifts a quarantine, on the record",
        )


def _came_from(registry: Registry, wish: PromotionRequest) -> str | None:
    """The event that put the version into the environment that comes before, if one must."""
    first = wish.environment.after
    if first is None:
        return None
    for event in reversed(registry.history(first, wish.name)):
        if event.to_version is not None and event.to_version.number == wish.number:
            return event.digest
    if wish.override:
        return None
    raise Refused(
        f"{wish.environment.name} comes after {first}, which has not run "
        f"{wish.name}@v{wish.number}",
        hint=f"llmops promote {wish.name}@v{wish.number} --to {first}",
    )


def _refuse_breaking(wish: PromotionRequest, version: Version, running: Version | None) -> None:
    changes = [] if running is None else breaking(running.prompt, version.prompt)
    if changes and not wish.accept_breaking:
        raise Refused(
            f"callers of {wish.name} would break: {'; '.join(changes)}",
            hint="make the input optional, or change the callers first and say --accept-breaking",
        )


def breaking(old: Prompt, new: Prompt) -> list[str]:
    """How calls that are right for `old` are wrong for `new`, one sentence each."""
    gone = [f"the input {name!r} is gone" for name in old.inputs if name not in new.inputs]
    demanded = [
        f"the input {name!r} is now required"
        for name, schema in new.inputs.items()
        if schema.get("required", True) and not _always_passed(old, name)
    ]
    changed = [
        f"the input {name!r} has another shape"
        for name, schema in new.inputs.items()
        if name in old.inputs and _shape(schema) != _shape(old.inputs[name])
    ]
    return [*gone, *demanded, *changed]


def _always_passed(prompt: Prompt, name: str) -> bool:
    return name in prompt.inputs and bool(prompt.inputs[name].get("required", True))


def _shape(schema: object) -> object:
    assert hasattr(schema, "items")
    ignored = {"required", "description", "title", "default", "literals", "examples"}
    return {key: value for key, value in schema.items() if key not in ignored}
