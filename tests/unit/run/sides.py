"""Builders for sides and scorers on a store, for tests without a project."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_cli.core.ports import ScorerKind, TrialKey
from llmops_cli.core.prompt import (
    Case,
    Evalset,
    Judge,
    Message,
    Model,
    Prompt,
    ScorerSpec,
    Target,
)
from llmops_cli.core.result import Completion
from llmops_cli.plugins.catalog import catalog
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.side import Side, SideSpec, TrialAt, TrialPlan
from llmops_cli.stores.results import ResultsStore

CASES = tuple(
    Case(id=name, inputs={"question": name}, expected=name) for name in ("one", "two", "three")
)
PROMPT = Prompt(
    name="support",
    model="tiny",
    inputs={"question": {"type": "string"}},
    messages=(Message(role="user", content="{{ question }}"),),
)
TARGET = Target(prompt=PROMPT, model=Model(name="tiny", provider="openai", model="tiny"))
EXACT = ScorerSpec(kind="exact", label="exact", minimum=1.0)
NEW, OLD = "2026-11-20T12:00:00.000+00:00", "2026-10-01T12:00:00.000+00:00"


def content_of(path: str, *, code: bool) -> bytes:
    return f"content of {path}, code: {code}".encode()


def bound(cases: Sequence[Case], *shared: ScorerSpec) -> Scorers:
    """Return the scorers of an evalset; none of them asks a judge."""

    def no_judge(kind: ScorerKind, _options: object) -> Judge:
        raise AssertionError(kind)

    evalset = Evalset(name="support", prompts=("support",), cases=cases, scorers=shared)
    return Scorers(catalog(), evalset, content_of, no_judge)


def a_side(store: ResultsStore, *, repeats: int = 1, cases: Sequence[Case] = CASES) -> Side:
    spec = SideSpec(
        name="support@working", role="candidate", target=TARGET, results=store, purpose="gate"
    )
    side = Side(spec=spec, plan=TrialPlan(repeats=repeats))
    side.make_requests(cases)
    return side


def answered(text: str | None = "x", *, at: str = NEW, model: str = "tiny-1") -> Completion:
    known = None if text is not None else "sha256:" + "a" * 64
    return Completion(text=text, at=at, served_model=model, known_digest=known)


def put(store: ResultsStore, side: Side, *answers: Completion, case: int = 0) -> None:
    """Store the trials of one case, from number 0 on."""
    keys = (side.key(TrialAt(case, n)) for n in range(len(answers)))
    store.put_completions(zip(keys, answers, strict=True))


def planned(
    side: Side,
    scorers: Scorers,
    *,
    requested: set[TrialKey] | None = None,
    skip: frozenset[int] = frozenset(),
) -> Side:
    """Plan the trials of `side` on `CASES`."""
    requested = set() if requested is None else requested
    side.plan_trials(CASES, scorers=scorers, requested=requested, skip=skip)
    return side
