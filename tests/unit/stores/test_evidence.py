"""Evidence is used again, nobody pays twice for it; rows that no llmops wrote are refused."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.digest import InvalidRecord, digest_bytes
from llmops_cli.core.errors import IntegrityBroken
from llmops_cli.core.ports import ScoreKey, TrialKey
from llmops_cli.core.result import (
    CaseResult,
    Completion,
    Failure,
    FailureKind,
    Score,
    SideResult,
    Trial,
    Usage,
)
from llmops_cli.stores import evidence as evidence_files
from llmops_cli.stores.codec import case_of, case_record, from_bytes, to_bytes
from llmops_cli.stores.evidence import has_rows, read_results, read_rows, read_texts
from llmops_cli.stores.registry import Registry
from llmops_cli.stores.results import open_results
from tests.unit.releases import (
    CONTAINS,
    NOON,
    completion,
    measured,
    released,
    rows,
    texts_of,
)
from tests.unit.stores.values import named


def test_trials_and_scores_of_evidence_answer_for_calls(tmp_path: Path) -> None:
    found = rows("Answer.", None, wrong=1, cases=3)
    evidence = measured(tmp_path, released(tmp_path), None, found=found)
    request = named(("Answer.", 0))
    with open_results(None) as store:
        assert store.ingest(evidence.digest, *read_results(evidence))
        keys = [TrialKey(request, purpose, 0) for purpose in ("gate", "baseline", "confirm")]
        held = store.completions(keys)
        assert list(held) == keys[:2]
        assert held[keys[0]] == Completion(
            text="Answer. on 0: 0.0",
            usage=Usage(input=10, output=2),
            cost=0.001,
            served_model="tiny-1",
            at=NOON,
        )
        key = ScoreKey(CONTAINS.scorer, found[0].facts, held[keys[0]].digest)
        assert store.scores([key]) == {key: Score(value=0.0)}


def test_without_texts_answers_are_known_by_their_digest_and_so_are_their_scores(
    tmp_path: Path,
) -> None:
    found = rows("Answer.", None, cases=2)
    version = released(tmp_path)
    with_texts = measured(tmp_path, version, None, found=found)
    registry = Registry(tmp_path)
    evidence = registry.write_evidence(
        replace(with_texts.measurement, llmops="0.2"), found, None, redact=str
    )
    key = TrialKey(named(("Answer.", 0)), "gate", 0)
    with open_results(None) as store:
        store.ingest(evidence.digest, *read_results(evidence))
        (held,) = store.completions([key]).values()
        assert (held.text, held.digest) == (None, completion("Answer.", 0, 1.0).digest)
        scores = ScoreKey(CONTAINS.scorer, found[0].facts, held.digest)
        assert store.scores([scores]) == {scores: Score(value=1.0)}
        store.ingest(with_texts.digest, *read_results(with_texts))
        assert store.completions([key])[key].text == "Answer. on 0: 1.0"


def test_a_text_with_a_secret_loses_the_text_and_keeps_its_digest(tmp_path: Path) -> None:
    found = rows("Answer.", None, cases=2)
    evidence = measured(tmp_path, released(tmp_path), None, found=found)
    registry = Registry(tmp_path)
    redacted = registry.write_evidence(
        replace(evidence.measurement, llmops="Answer. on 0: 1.0"),
        found,
        texts_of(found),
        redact=lambda text: text.replace("Answer. on 0: 1.0", "***"),
    )
    kept = {each.text for each in read_texts(redacted).values()}
    assert "Answer. on 1: 1.0" in kept
    assert not any("***" in str(text) or text == "Answer. on 0: 1.0" for text in kept)
    for path in (tmp_path / ".llmops").rglob(f"{redacted.cases.name.partition('.')[0]}*"):
        assert b"Answer. on 0: 1.0" not in path.read_bytes()


def test_a_row_says_all_that_the_gate_reads() -> None:
    broken = Failure(kind=FailureKind.TIMEOUT, message="120 s passed", attempts=6)
    trials = (
        Trial(output=named(1), scores={"a": 0.25, "b": None}, reasons={"b": "why"}),
        Trial(failure=broken, scores={"a": None, "b": None}),
        Trial(output=named(2), finish_reason="length", latency=0.5, cost=0.0),
    )
    facts = named("facts")
    candidate = SideResult(request=named("r"), facts=facts, planned=4, trials=trials)
    row = CaseResult(
        evalset="support",
        case="a/1 \ud800",
        tags=("x", "y"),
        critical=True,
        group="g",
        known_failing="a bug",
        candidate=replace(candidate, confirm=(Trial(output=named(3), finish_reason="stop"),)),
        baseline=None,
        others={"anchor v1": SideResult(request=named("s"), facts=facts, planned=0)},
    )
    back = case_of(from_bytes(to_bytes(case_record(row, details=False))))
    assert row.candidate is not None
    whole = [replace(each, scores={"a": None, "b": None, **each.scores}) for each in trials]
    assert back == replace(row, candidate=replace(row.candidate, trials=tuple(whole)))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b'{"evalset":"e"}',
        b'{"evalset":"e","case":"c","facts":"","sides":{"candidate":{"request":"","planned":0,"n":0,"gates":{}}}}',
        b'{"evalset":"e","case":"c","facts":"","sides":{},"color":"red"}',
        b'{"case":"c","facts":"","sides":{"s":{"request":"","planned":1,"n":1,"cost":[1,2]}}}',
    ],
)
def test_a_row_of_another_shape_is_no_row(line: bytes) -> None:
    with pytest.raises(InvalidRecord):
        case_of(from_bytes(line))


NAME = "sha256:" + "a" * 64


def a_row() -> dict[str, Any]:
    trial = Trial(
        output=NAME, scores={"exact": 1.0}, cost=0.1, input_tokens=5, finish_reason="stop"
    )
    side = SideResult(request=NAME, facts=NAME, planned=1, trials=(trial,))
    row = CaseResult(evalset="support", case="c1", candidate=side, baseline=None)
    record: dict[str, Any] = json.loads(to_bytes(case_record(row, details=True)))
    return record


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, [1], {}, 10**400])
@pytest.mark.parametrize("place", ["scores", "cost"])
def test_what_is_no_number_is_no_score_and_no_cost(place: str, value: object) -> None:
    record = a_row()
    record["sides"]["candidate"][place] = {"exact": [value]} if place == "scores" else [value]
    with pytest.raises(InvalidRecord):
        case_of(from_bytes(json.dumps(record).encode()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("planned", "1"),
        ("planned", 10**30),
        ("planned", True),
        ("n", -1),
        ("output", [5]),
        ("output", ["no digest"]),
        ("output", 5),
        ("failure", [5]),
        ("finish_reason", "s"),
        ("served_model", {"0": "m"}),
        ("reasons", ["x"]),
        ("request", None),
        ("request", "sha256:zz"),
    ],
)
def test_a_trial_of_another_shape_is_refused(place: str, value: object) -> None:
    record = a_row()
    record["sides"]["candidate"][place] = value
    with pytest.raises(InvalidRecord):
        case_of(from_bytes(json.dumps(record).encode()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("critical", "yes"),
        ("case", 5),
        ("group", ["g"]),
        ("tags", "ab"),
        ("facts", None),
        ("inputs", ["a"]),
        ("position", "1"),
    ],
)
def test_a_case_of_another_shape_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidRecord):
        case_of(from_bytes(json.dumps({**a_row(), name: value}).encode()))


def test_reading_deleted_rows_is_an_error(tmp_path: Path) -> None:
    found = rows("Answer.", None, cases=2)
    evidence = measured(tmp_path, released(tmp_path), None, found=found)
    (tmp_path / ".llmops/evidence/support@v1" / evidence.cases.name).unlink()
    assert not has_rows(evidence)
    with pytest.raises(IntegrityBroken, match=evidence.cases.name):
        list(read_rows(evidence))


def test_texts_that_are_too_large_when_they_are_unpacked_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = measured(tmp_path, released(tmp_path), None, found=rows("Answer.", None, cases=2))
    assert evidence.texts is not None
    file = evidence.file.with_name(evidence.texts.name)
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()) * 1000))
    texts = replace(evidence.texts, digest=digest_bytes(file.read_bytes()))
    assert len(read_texts(replace(evidence, texts=texts))) == 4
    monkeypatch.setattr(evidence_files, "MAX_ROWS", 10_000)
    with pytest.raises(IntegrityBroken, match="unpacked"):
        read_texts(replace(evidence, texts=texts))
