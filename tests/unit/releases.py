"""Versions, evidence and events for tests, made the way the flows make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_cli.core.digest import digest
from llmops_cli.core.policy import Decision, Environment, Policy, Verdict
from llmops_cli.core.prompt import Message, Model, Prompt, Target
from llmops_cli.core.records import (
    EvalsetFacts,
    Event,
    Evidence,
    Measurement,
    Provenance,
    SideFacts,
    Version,
    VersionRef,
)
from llmops_cli.core.result import (
    BASELINE,
    CANDIDATE,
    OWN_BASELINE,
    CaseResult,
    Completion,
    Metric,
    SideResult,
    Trial,
)
from llmops_cli.registry.deliver import EventOrigin
from llmops_cli.registry.promote import Promotion, PromotionRequest, append_promotion
from llmops_cli.registry.release import release_target
from llmops_cli.stores.registry import Registry
from tests.unit.stores.values import named, plain

NOON = "2026-11-01T12:00:00+00:00"
ADA = Provenance(by="Ada Tester <ada@example.org>", at=NOON, commit="a" * 40)
PRODUCTION = Environment(name="production")
CONTAINS = Metric(label="contains", scorer=named("contains"), minimum=1.0)


def target(text: str = "Answer.", *, name: str = "support", model: str = "tiny") -> Target:
    prompt = Prompt(
        name=name,
        model="fast",
        parameters={"temperature": 0, "max_tokens": 30},
        inputs={"question": {"type": "string"}},
        messages=(
            Message(role="system", content=text),
            Message(role="user", content=({"type": "text", "text": "{{ question }}"},)),
        ),
        json_schema={"type": "object", "maximum": 0.1},
        includes={"parts/tone.txt": "Be kind. ß"},
        path=f"prompts/{name}.prompt.yml",
    )
    return Target(prompt=prompt, model=Model(name="fast", provider="openai", model=model))


def released(root: Path, text: str = "Answer.", *, name: str = "support") -> Version:
    sources = {
        f"{name}.prompt.yml": f"messages: {text}\r\n".encode(),
        "parts/tone.txt": b"Be kind.",
    }
    registry = Registry(root)
    return release_target(registry, target(text, name=name), sources, ADA, redact=plain).version


def promoted(
    registry: Registry,
    number: int,
    *,
    environment: Environment = PRODUCTION,
    evalsets: Sequence[EvalsetFacts] | None = None,
    **request: Any,
) -> Promotion:
    """Promote a version of support to `environment`, with further fields of the request."""
    return append_promotion(
        registry,
        PromotionRequest(address=f"support@v{number}", **request),
        environment,
        evalsets=[facts()] if evalsets is None else evalsets,
        origin=EventOrigin(actor=ADA.by, at=NOON, run_url="https://ci/7"),
    )


def facts(
    *, policy: Policy | None = None, cases: int = 60, edited: str = "", evalset: str = "support"
) -> EvalsetFacts:
    return EvalsetFacts(
        evalset=evalset,
        digest=digest("llmops/evalset/v1", [cases, edited]),
        cases=cases,
        policy=policy or Policy(margin=0.1),
        metrics=(CONTAINS,),
    )


def trials(case: int, score: float, *, of: str) -> tuple[Trial, ...]:
    trial = Trial(
        output=completion(of, case, score).digest,
        scores={"contains": score},
        finish_reason="stop",
        cost=0.001,
        input_tokens=10,
        output_tokens=2,
        served_model="tiny-1",
    )
    return (trial,)


def completion(of: str, case: int, score: float) -> Completion:
    return Completion(text=f"{of} on {case}: {score}")


def side(case: int, text: str, score: float, *, edited: str = "") -> SideResult:
    """One trial of `text` on a case."""
    return SideResult(
        request=named((text.removesuffix(" again"), case)),
        facts=named(("facts", case, edited)),
        planned=1,
        trials=trials(case, score, of=text),
    )


def rows(
    candidate: str, baseline: str | None, *, wrong: int = 0, cases: int = 60, edited: str = ""
) -> list[CaseResult]:
    """`cases` cases; the candidate fails the first `wrong` of them, the baseline none."""
    results = []
    for case in range(cases):
        score = 0.0 if case < wrong else 1.0
        beside = side(case, f"{baseline} again", 1.0, edited=edited) if baseline else None
        results.append(
            CaseResult(
                evalset="support",
                case=f"case-{case:03}",
                candidate=side(case, candidate, score, edited=edited),
                baseline=beside,
                others={OWN_BASELINE: side(case, f"{candidate} again", score, edited=edited)},
                tags=("refund",) if case % 2 else (),
            )
        )
    return results


def measured(
    root: Path,
    version: Version,
    against: Version | None,
    *,
    found: Sequence[CaseResult],
    evalset: EvalsetFacts | None = None,
    at: str = NOON,
) -> Evidence:
    """Evidence of `version`, written."""
    ours = side_facts(version, at)
    sides: dict[str, SideFacts] = {CANDIDATE: ours, OWN_BASELINE: ours}
    if against is not None:
        sides[BASELINE] = side_facts(against, at)
    measurement = Measurement(
        name=version.name,
        number=version.number,
        environment="production",
        llmops="0.1",
        sides=sides,
        evalsets=(evalset or facts(cases=len(found)),),
        verdict=Verdict(decision=Decision.PASS, why="no worse", findings=()),
        counts={"calls": 120},
        made=Provenance(by=ADA.by, at=at),
    )
    return Registry(root).write_evidence(measurement, found, texts_of(found), redact=plain)


def side_facts(version: Version, at: str = NOON) -> SideFacts:
    return SideFacts(
        version=version.number,
        target=version.target,
        model="openai/tiny",
        served_models=("tiny-1",),
        oldest=at,
        newest=at,
    )


def texts_of(found: Sequence[CaseResult]) -> list[Completion]:
    """The answers that `rows` made its draws from."""
    known: dict[str, Completion] = {}
    for case in range(len(found)):
        for text in ("Answer.", "Answer well.", "Answer better."):
            for of in (text, f"{text} again"):
                for score in (0.0, 1.0):
                    each = completion(of, case, score)
                    known[each.digest] = each
    named_there = {
        trial.output for row in found for each in row.sides.values() for trial in each.trials
    }
    return [each for name, each in known.items() if name in named_there]


def event(
    version: Version,
    *,
    after: Event | None = None,
    environment: str = "production",
    changes: Mapping[str, object] | None = None,
) -> Event:
    """The promotion of `version` that follows `after`."""
    values: dict[str, object] = {
        "seq": after.seq + 1 if after else 1,
        "environment": environment,
        "prompt": version.name,
        "action": "promote",
        "from_version": after.to_version if after else None,
        "to_version": VersionRef(number=version.number, digest=version.digest),
        "previous": after.digest if after else None,
        "actor": ADA.by,
        "at": NOON,
        **(changes or {}),
    }
    return Event(**values)  # type: ignore[arg-type]  # a test names fields by string


def promote_all(registry: Registry, *versions: Version) -> list[Event]:
    """Write the events that promote `versions` to production, one after the other."""
    events: list[Event] = []
    for version in versions:
        events.append(event(version, after=events[-1] if events else None))
        registry.append(events[-1])
    return events
