"""Stores, rows and run files return what was written to them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_cli.core.result import (
    CaseResult,
    Completion,
    Failure,
    FailureKind,
    Score,
    SideResult,
    ToolCall,
    Trial,
    Usage,
)
from llmops_cli.stores.codec import (
    case_of,
    case_record,
    completion_of,
    completion_record,
    failure_of,
    failure_record,
    from_bytes,
    score_of,
    score_record,
    to_bytes,
)
from llmops_cli.stores.results import open_results
from llmops_cli.stores.run_file import Entry, merge, open_run, write_run
from tests.unit.stores.test_runfile import manifest
from tests.unit.stores.values import named, plain, trial_key

anything = st.text(st.characters(codec=None))  # lone surrogates, NUL and all
clean = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
amounts = st.integers(0, 10**12).map(lambda number: number / 10**9)
counts = st.integers(0, 2**53)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=6,
)
usages = st.builds(
    Usage,
    input=counts,
    output=counts,
    cached_input=counts,
    cache_write=counts,
    cache_write_1h=counts,
)
completions = st.builds(
    Completion,
    text=anything,
    tool_calls=st.lists(st.builds(ToolCall, name=anything, arguments=json_values), max_size=2).map(
        tuple
    ),
    finish_reason=st.sampled_from(["stop", "length", "content_filter", "odd"]),
    contexts=st.lists(anything, max_size=2).map(tuple),
    ids=st.lists(anything, max_size=2).map(tuple),
    usage=st.none() | usages,
    cost=st.none() | numbers,
    latency=st.none() | numbers,
    served_model=st.none() | anything,
    attempts=st.integers(1, 9),
    at=st.none() | anything,
)
failures = st.builds(
    Failure,
    kind=st.sampled_from(FailureKind),
    message=anything,
    status=st.none() | st.integers(100, 599),
    attempts=st.integers(1, 9),
    retryable=st.booleans(),
    retry_after=st.none() | numbers,
)
scores = st.builds(
    Score,
    value=numbers,
    reason=anything,
    detail=st.dictionaries(anything, json_values, max_size=2),
)
answers = st.builds(Completion, text=st.sampled_from("abc"), at=st.just("2026"))
labels = st.sampled_from(["contains", "tone", "pass 2"])


@given(completions, failures, scores)
def test_completions_failures_and_scores(
    completion: Completion, failure: Failure, score: Score
) -> None:
    stored = from_bytes(to_bytes(completion_record(completion)))
    assert completion_of(stored, live=True) == completion
    assert completion_of(stored) == replace(completion, latency=None)
    assert failure_of(from_bytes(to_bytes(failure_record(failure)))) == failure
    assert score_of(from_bytes(to_bytes(score_record(score)))) == score


@st.composite
def sides(draw: st.DrawFn) -> SideResult:
    due = draw(st.lists(labels, unique=True))
    given_scores: st.SearchStrategy[Mapping[str, float | None]] = st.fixed_dictionaries(
        {label: st.none() | numbers for label in due}
    )
    measured = st.builds(
        Trial,
        output=st.integers(0, 3).map(named),
        scores=given_scores,
        finish_reason=st.sampled_from(["stop", "length"]),
        cost=st.none() | amounts,
        input_tokens=st.none() | counts,
        latency=st.none() | amounts,
        served_model=st.none() | anything,
    )
    failed = st.builds(Trial, failure=failures, scores=st.just(dict.fromkeys(due)))
    drawn_trials = draw(st.lists(measured | failed, max_size=4))
    return SideResult(
        request=named("r"),
        facts=named("facts"),
        planned=draw(st.integers(0, 9)),
        trials=tuple(drawn_trials),
        confirm=tuple(drawn_trials[:1]),
    )


@given(
    st.builds(
        CaseResult,
        evalset=clean,
        case=anything,
        tags=st.lists(anything, max_size=2).map(tuple),
        critical=st.booleans(),
        group=st.none() | anything.filter(bool),
        known_failing=st.none() | anything.filter(bool),
        candidate=sides(),
        baseline=st.none() | sides(),
        others=st.dictionaries(clean, sides(), max_size=2),
    )
)
def test_results_of_cases(case: CaseResult) -> None:
    record = case_record(case, details=False)
    assert case_of(from_bytes(to_bytes(record))) == case
    assert case_record(case_of(from_bytes(to_bytes(record))), details=False) == record


keyed = st.tuples(st.builds(trial_key, st.sampled_from("xy"), st.integers(0, 2)), answers)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(keyed, max_size=5), min_size=1, max_size=3))
def test_however_runs_are_merged_the_same_trials_come_out(runs: list[list[Entry]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, entries in enumerate(runs):
            write_run(folder / f"{number}.jsonl", manifest(), entries, redact=plain)
        opened = [open_run(path) for path in sorted(folder.iterdir())]
        contents = set()
        for order in (opened, opened[::-1], [*opened, *opened]):
            whole, entries_ = merge(order)
            write_run(folder / "whole", whole, entries_, redact=plain)
            contents.add((folder / "whole").read_bytes())
        assert len(contents) == 1


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(keyed, max_size=5), max_size=4))
def test_taking_runs_over_loses_no_answer_and_doubles_none(
    runs: list[list[tuple[object, Completion]]],
) -> None:
    with open_results(None) as store:
        for number, entries in enumerate(runs):
            for _ in range(2):
                store.ingest(named(number), entries, [])  # type: ignore[arg-type]  # drawn as keys
        for what in "xy":
            put = {
                (key.n, completion.text)  # type: ignore[attr-defined]  # drawn as keys
                for entries in runs
                for key, completion in entries
                if key.request == named(what)  # type: ignore[attr-defined]  # drawn as keys
            }
            keys = [trial_key(what, n) for n in range(30)]
            by_key = store.completions(keys)
            assert len(by_key) == len(put)
            assert sorted(item.text or "" for item in by_key.values()) == sorted(
                text or "" for _, text in put
            )
