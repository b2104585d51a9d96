"""Every registered scorer passes the same tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.ports import PluginContext, ScorerKind
from llmops_cli.core.prompt import Case, ScorerSpec
from llmops_cli.core.redact import without_surrogates
from llmops_cli.core.result import (
    Completion,
    Metric,
    Score,
    ToolCall,
    Unscored,
    Usage,
)
from llmops_cli.plugins.catalog import (
    catalog,
    load,
    open_scorer,
    scorer_digest,
    volatile,
    wrong_options,
)
from llmops_cli.plugins.scorers import SCORERS
from llmops_cli.scorers.scoring import score
from tests.counting import cpu_in_loops
from tests.hostile import HOSTILE
from tests.unit.scorers.answers import Obliging

OPTIONS: Mapping[str, Mapping[str, Json]] = {
    "regex": {"pattern": "yes|42"},
    "json_schema": {"schema": "reply.json"},
    "python": {"call": "own.py:says_yes"},
    "hit_at_k": {"k": 2, "relevant": "p1"},
    "precision_at_k": {"k": 2, "relevant": ["p1", "p2"]},
    "recall_at_k": {"k": 2, "relevant": ["p1", "p2"]},
    "mrr": {"relevant": ["p2"]},
    "ndcg": {"relevant": {"p1": 2, "p2": 1}},
    "context_precision_by_id": {"relevant": ["p1", "p2"]},
    "context_recall_by_id": {"relevant": ["p1", "p2"]},
    "context_precision_by_text": {"relevant": ["yes"]},
    "context_recall_by_text": {"relevant": ["yes"]},
    "answer_relevancy": {"embeddings": "some/model"},
    "rubric": {"criteria": "It says yes."},
    "choice": {"criteria": "What it says.", "choices": {"yes": 1.0, "no": 0.0}},
}
"""What a scorer cannot do without; the others live on the case's `expected`."""

ANOTHER: Mapping[str, Json] = {
    "value": "no",
    "pattern": "no",
    "max": 1,
    "schema": "strict.json",
    "call": "own.py:says_no",
    "equals": {"a": 1},
    "tool": "search",
    "k": 1,
    "relevant": ["p9"],
}
"""Another value of a scorer's shorthand option."""

EXPECTED: Mapping[str, Json] = {"number": 42, "tool_call": {"name": "search"}}

OWN = """
def says_yes(text, case):
    return "yes" in text

def says_no(text, case):
    return "no" in text
"""


Given = Mapping[str, tuple[Score | Unscored, float]]

KINDS = [
    pytest.param(
        kind, id=kind.name, marks=[pytest.mark.needs("ragas")] if kind.library == "ragas" else []
    )
    for kind in catalog().scorers.values()
]
every_scorer = pytest.mark.parametrize("kind", KINDS)


def a_world(root: Path) -> PluginContext:
    (root / "reply.json").write_text('{"type": "object"}')
    (root / "strict.json").write_text('{"type": "object", "required": ["a"]}')
    (root / "own.py").write_text(OWN)
    return PluginContext(root=root, environ={"PATH": "/usr/bin:/bin"}, trust=["own.py"])


@pytest.fixture
def context(tmp_path: Path) -> PluginContext:
    return a_world(tmp_path)


def a_case(kind: ScorerKind) -> Case:
    return Case(id="one", inputs={"q": "?"}, expected=EXPECTED.get(kind.name, "yes 42"))


def a_spec(kind: ScorerKind, **changed: Any) -> ScorerSpec:
    return ScorerSpec(
        kind=kind.name, label=kind.name, options=OPTIONS.get(kind.name, {}), **changed
    )


def an_answer(text: str) -> Completion:
    return Completion(
        text=text,
        tool_calls=(ToolCall(name="search", arguments={"q": "x"}),),
        contexts=("yes", "42"),
        ids=("p2", "p3"),
        usage=Usage(input=10, output=5),
        cost=0.001,
        latency=0.5,
    )


def scored(
    kind: ScorerKind, context: PluginContext, *texts: str
) -> list[tuple[Score | Unscored, float]]:
    """Each text's score, and the CPU seconds that it took."""

    async def run() -> list[tuple[Score | Unscored, float]]:
        results = []
        async with open_scorer(kind, context) as scorer:
            for text in texts:
                started = time.process_time()
                options = dict[str, Any](OPTIONS.get(kind.name, {}))
                if kind.judged:
                    text = without_surrogates(text)  # noqa: PLW2901 - as the engine does, for what is sent on
                if kind.paired:
                    options["against"] = an_answer("no")
                scored_once = await score(
                    scorer,
                    options,
                    case=a_case(kind),
                    completion=an_answer(text),
                    ask=Obliging() if kind.judged else None,
                )
                results.append((scored_once, time.process_time() - started))
        return results

    return asyncio.run(run())


def digest_of(kind: ScorerKind, spec: ScorerSpec, context: PluginContext) -> str:
    return scorer_digest(kind, spec, lambda path: (context.root / path).read_bytes())


@every_scorer
def test_a_usual_answer_gets_a_score(kind: ScorerKind, context: PluginContext) -> None:
    ((results, _),) = scored(kind, context, "yes 42")
    assert isinstance(results, Score)


@every_scorer
def test_the_same_answer_gets_the_same_score(kind: ScorerKind, context: PluginContext) -> None:
    text = "yes 42, and some more words"
    (scored_once, _), (scored_twice, _) = scored(kind, context, text, text)
    ((fresh, _),) = scored(kind, context, text)
    assert scored_once == scored_twice == fresh


@pytest.fixture(scope="module", params=KINDS)
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """What one scorer makes of each hostile text, and the seconds that it took."""
    around = a_world(tmp_path_factory.mktemp("hostile"))
    _warm, *results = scored(request.param, around, "warm", *HOSTILE.values())
    return dict(zip(HOSTILE, results, strict=True))


def test_hostile_text_is_scored_or_unscored(hostile: Given) -> None:
    for name, (results, _) in hostile.items():
        assert isinstance(results, Score) or "raised" not in results.why, (name, results)


def test_a_reason_is_short_printable_and_on_one_line(hostile: Given) -> None:
    for name, (results, _) in hostile.items():
        reason = results.reason if isinstance(results, Score) else results.why
        assert reason, name
        assert reason.isprintable(), (name, reason)
        assert len(reason) < 1500, name


def test_hostile_text_is_scored_with_little_cpu(hostile: Given) -> None:
    slow = {name: cpu for name, (_, cpu) in hostile.items() if cpu_in_loops(cpu) >= 150}
    assert slow == {}


@every_scorer
def test_the_digest_is_stable_and_ignores_what_decides_later(
    kind: ScorerKind, context: PluginContext
) -> None:
    plain = digest_of(kind, a_spec(kind), context)
    decided = replace(a_spec(kind), label="x", minimum=0.3, maximum=0.9, negate=True, advisory=True)
    assert digest_of(kind, decided, context) == plain


@every_scorer
def test_the_digest_follows_options_revision_and_name(
    kind: ScorerKind, context: PluginContext
) -> None:
    plain = digest_of(kind, a_spec(kind), context)
    assert digest_of(replace(kind, revision=kind.revision + 1), a_spec(kind), context) != plain
    assert digest_of(replace(kind, name="other"), a_spec(kind), context) != plain
    if kind.options:
        first = next(iter(kind.options))
        option = kind.shorthand if kind.shorthand in kind.options else first
        assert option is not None
        changed = {**OPTIONS.get(kind.name, {}), option: ANOTHER.get(option, "other")}
        assert digest_of(kind, replace(a_spec(kind), options=changed), context) != plain


@every_scorer
def test_its_needed_options_are_enough_and_right(kind: ScorerKind, context: PluginContext) -> None:
    assert wrong_options(kind, OPTIONS.get(kind.name, {}), context) is None
    needed = {
        name
        for name, option in kind.options.items()
        if option.required or option.default is not None
    }
    assert needed == set(OPTIONS.get(kind.name, {}))


@every_scorer
def test_a_score_that_can_never_be_given_is_seen_before_any_call(kind: ScorerKind) -> None:
    without = Case(id="bare")
    spec = a_spec(kind, maximum=1.0)
    needs = kind.expects is not None or kind.question is not None
    assert (kind.lacks(spec, without) is not None) == needs
    assert kind.lacks(spec, a_case(kind)) is None


@every_scorer
def test_nothing_passes_for_want_of_a_threshold(kind: ScorerKind) -> None:
    thresholds = (kind.minimum, kind.maximum)
    assert (
        any(threshold is not None for threshold in thresholds)
        or kind.lacks(a_spec(kind)) is not None
    )


@every_scorer
def test_the_worst_value_of_a_bounded_scorer_fails(kind: ScorerKind) -> None:
    if kind.unit not in ("pass", "fraction"):
        return
    metric = Metric(
        label="x", scorer="s", unit=kind.unit, minimum=kind.minimum, maximum=kind.maximum
    )
    assert (metric.passes(0.0), metric.passes(1.0)) == (False, True)


@every_scorer
def test_it_is_documented(kind: ScorerKind) -> None:
    assert kind.summary.endswith(".")
    for name, option in kind.options.items():
        assert option.help, name
    assert kind.shorthand is None or kind.shorthand in {*kind.options, "min", "max"}
    assert kind.expects is None or kind.expects in kind.options
    assert set(kind.files) <= kind.options.keys()


@every_scorer
def test_its_library_is_named_and_its_code_exists(kind: ScorerKind) -> None:
    assert callable(load(kind.target))
    assert kind.check is None or callable(load(kind.check))
    assert kind.extra is None or kind.library is not None


def test_only_project_code_without_identity_is_volatile() -> None:
    volatile_kinds = {name for name, kind in SCORERS.items() if volatile(kind, a_spec(kind))}
    assert volatile_kinds == {"python"}
    own = SCORERS["python"]
    assert not volatile(own, replace(a_spec(own), options={"call": "own.py:f", "identity": 1}))
