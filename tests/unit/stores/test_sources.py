"""Rows of the results store by where they come from, and which of them count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.result import Score
from llmops_cli.stores.results import ResultsStore, open_results
from llmops_cli.stores.sources import OWN, UNKNOWN, Sources, merged, of_evidence, of_run
from tests.unit.stores.test_results import edit
from tests.unit.stores.values import answer, named, score_key, trial_key

OURS, OTHER = "model ours", "model other"


@contextmanager
def at_base(folder: Path, *known: str) -> Iterator[ResultsStore]:
    """The store of a run with a base revision that has `known` sources."""
    with open_results(folder, sources=Sources(known)) as store:
        yield store


def texts(store: ResultsStore, numbers: int = 4) -> list[str | None]:
    keys = [trial_key("q", n) for n in range(numbers)]
    stored = store.completions(keys)
    briefs = store.briefs(keys)
    assert briefs.keys() == stored.keys()
    assert all(briefs[key].digest == stored[key].digest for key in stored)
    return [stored[key].text if key in stored else None for key in keys]


def test_an_answer_of_another_source_is_a_miss_and_stays(tmp_path: Path) -> None:
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), answer("theirs"))], OTHER)
        assert texts(store) == ["theirs", None, None, None]
    with at_base(tmp_path, OURS) as store:
        assert texts(store) == [None] * 4
        store.put_completions([(trial_key("q"), answer("ours"))], OURS)
        assert texts(store) == ["ours", None, None, None]
        assert not store.further([trial_key("q").request], "gate", beyond=1)
    with open_results(tmp_path) as store:
        assert texts(store) == ["ours", "theirs", None, None]


@pytest.mark.parametrize("source", [UNKNOWN, OTHER])
def test_a_score_of_another_source_is_a_miss_until_it_is_made_again(
    tmp_path: Path, source: str
) -> None:
    with open_results(tmp_path) as store:
        store.put_score(score_key("q"), Score(value=1), source)
    with at_base(tmp_path, OURS) as store:
        assert not store.scores([score_key("q")])
        store.put_score(score_key("q"), Score(value=0), OWN)
        assert store.scores([score_key("q")])[score_key("q")].value == 0


def test_evidence_counts_only_for_the_requests_it_is_accepted_for(tmp_path: Path) -> None:
    keys = [trial_key("mine"), trial_key("yours")]
    with open_results(tmp_path) as store:
        store.ingest(
            named("e"),
            [(key, answer()) for key in keys],
            [(score_key("q"), Score(value=1))],
            evidence=True,
        )
        assert not store.completions(keys)
        assert not store.scores([score_key("q")])
        store.sources.accept_evidence(named("e"), [keys[0].request])
        assert store.completions(keys).keys() == {keys[0]}
        assert store.scores([score_key("q")])


def test_a_run_file_counts_at_the_base_if_it_was_named(tmp_path: Path) -> None:
    with at_base(tmp_path) as store:
        store.ingest(named("run"), [(trial_key("q"), answer("a"))], [])
        assert texts(store) == [None] * 4
        store.sources.accept(of_run(named("run")))
        assert texts(store) == ["a", None, None, None]


@pytest.mark.parametrize("first", [UNKNOWN, OTHER])
def test_an_equal_answer_counts_by_each_of_its_sources(tmp_path: Path, first: str) -> None:
    """Also if another version's evidence has it, and if a server lied about its cost."""
    request = trial_key("q").request
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), replace(answer("a"), cost=9.0))], first)
    with at_base(tmp_path, OURS) as store:
        for evidence in ("e", "f"):
            store.ingest(named(evidence), [(trial_key("q"), answer("a"))], [], evidence=True)
        store.sources.accept_evidence(named("f"), [request])
        assert store.completions([trial_key("q")])[trial_key("q")].cost == answer().cost
    with at_base(tmp_path, OURS) as store:
        assert texts(store) == [None] * 4
        store.sources.accept_evidence(named("e"), [request])
        assert texts(store) == ["a", None, None, None]
    with open_results(tmp_path) as store:
        assert texts(store) == ["a", None, None, None]


def test_an_equal_score_of_evidence_counts_by_each_of_its_sources(tmp_path: Path) -> None:
    key = score_key("q")
    with open_results(tmp_path) as store:
        store.put_score(key, Score(value=1), OTHER)
        store.ingest(named("e"), [], [(key, Score(value=1))], evidence=True)
        store.ingest(named("f"), [], [(key, Score(value=0))], evidence=True)  # not in its place
        assert store.scores([key])[key].value == 1
    with at_base(tmp_path) as store:
        assert not store.scores([key])
        store.sources.accept_evidence(named("e"), [])
        assert store.scores([key])[key].value == 1


def test_a_score_of_evidence_takes_the_place_of_one_that_does_not_count(tmp_path: Path) -> None:
    key = score_key("q")
    with at_base(tmp_path) as store:
        store.put_score(key, Score(value=1), OTHER)
        store.ingest(named("e"), [], [(key, Score(value=0))], evidence=True)
        store.sources.accept_evidence(named("e"), [])
        assert store.scores([key])[key].value == 0


def test_a_source_that_was_changed_in_the_file_is_damage(tmp_path: Path) -> None:
    with open_results(tmp_path) as store:
        store.put_completions([(trial_key("q"), answer("theirs"))], OTHER)
        store.put_score(score_key("q"), Score(value=1), OTHER)
    for statement in ("UPDATE completions SET source = ?", "UPDATE scores SET source = ?"):
        edit(tmp_path, statement, values=(OURS,))
    with at_base(tmp_path, OURS) as store:
        assert texts(store) == [None] * 4
        assert not store.scores([score_key("q")])
        assert store.damaged == 2


def test_sources_are_named_once() -> None:
    both = merged(merged(OURS, OTHER), OURS)
    assert both == f"{OURS},{OTHER}"
    assert Sources([OTHER]).count(both)
    assert not Sources(["model"]).count(both)
    assert of_evidence(named("e"), "r") != of_evidence(named("e"))
