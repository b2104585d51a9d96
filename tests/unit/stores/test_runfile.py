"""A run file carries a run anywhere: whole or refused, and merged in any order."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.errors import IntegrityBroken, Refused
from llmops_cli.core.records import EvalsetFacts
from llmops_cli.core.result import CaseResult, Failure, FailureKind, Score, SideResult, Trial
from llmops_cli.stores import run_file as runfile
from llmops_cli.stores.results import open_results
from llmops_cli.stores.run_file import (
    Entry,
    Manifest,
    RunEvalset,
    RunSide,
    merge,
    open_run,
    write_run,
)
from tests.unit.releases import facts
from tests.unit.stores.values import answer, named, plain, score_key, trial_key


def manifest(*, partial: str | None = None, evalset: EvalsetFacts | None = None) -> Manifest:
    side = RunSide(name="support@working", target=named("t"), model="openai/tiny")
    one = RunEvalset(
        prompt="support",
        environment="production",
        facts=evalset or facts(),
        sides={"candidate": side},
        partial=partial,
    )
    return Manifest(llmops="0.1", evalsets=(one,))


def case(position: int, *trials: Trial) -> CaseResult:
    return CaseResult(
        prompt="support",
        evalset="support",
        position=position,
        case=f"case-{position}",
        inputs={"question": "why \ud800 \0?"},
        expected=[1, None, {"k": 0.5}],
        tags=("a",),
        candidate=SideResult(
            request=named(position), facts=named(position), planned=1, trials=trials
        ),
        baseline=None,
    )


TIMEOUT = Failure(kind=FailureKind.TIMEOUT, message="120 s passed")
ENTRIES: list[Entry] = [
    case(1),
    case(0),
    (trial_key(0), answer("hostile \0\x1b[31m \u2028")),
    (score_key(0), Score(value=1, reason="said so", detail={"at": 3})),
]
TIMED = Trial(
    output=named("answer"),
    finish_reason="stop",
    latency=0.25,
    scores={"tone": None, "latency": 0.25},
    reasons={"tone": "no judge \ud800", "latency": "quick"},
)


@pytest.mark.parametrize("name", ["run.jsonl", "run.jsonl.gz"])
def test_a_run_comes_back_sorted(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_run(path, manifest(), ENTRIES, redact=plain)
    run = open_run(path)
    assert run.manifest == manifest()
    assert list(run.entries()) == [case(0), case(1), *ENTRIES[2:]]


def test_what_only_the_run_knows_of_a_trial_comes_back_with_its_case(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_run(path, manifest(), [case(0), case(1, TIMED), *ENTRIES[2:]], redact=plain)
    with open_run(path).indexed() as index:
        assert [*index.cases("support", "support")] == [case(0), case(1, TIMED)]
        assert index.case("support", "support", 1) == case(1, TIMED)
        stored = index.answer(answer("hostile \0\x1b[31m \u2028").digest)
    assert stored is not None
    assert stored.latency is None  # it is nobody else's clock
    assert dict(open_run(path).results()[0])[trial_key(0)].latency is None


def test_a_line_of_a_kind_that_comes_later_is_counted_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.jsonl"
    write_run(path, manifest(), ENTRIES, redact=plain)
    known = {kind: read for kind, read in runfile._READ.items() if kind != "score"}
    monkeypatch.setattr(runfile, "_READ", known)  # as an llmops without scores would read
    assert list(open_run(path).entries()) == [case(0), case(1), ENTRIES[2]]


@pytest.mark.parametrize("name", ["run.jsonl", "run.jsonl.gz"])
def test_equal_runs_are_equal_bytes(tmp_path: Path, name: str) -> None:
    contents = set()
    for number, order in enumerate(itertools.permutations(ENTRIES[:3])):
        path = tmp_path / str(number) / name
        write_run(path, manifest(), [*order, ENTRIES[3], *order], redact=plain)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_packed_or_not_a_run_has_one_digest(tmp_path: Path) -> None:
    for name in ("run.jsonl", "run.jsonl.gz"):
        write_run(tmp_path / name, manifest(), ENTRIES, redact=plain)
    digests = {open_run(path).digest for path in tmp_path.iterdir()}
    assert len(digests) == 1


def test_a_trial_that_was_answered_in_one_shard_did_not_fail(tmp_path: Path) -> None:
    failed, measured = case(0, Trial(failure=TIMEOUT)), case(0, TIMED)
    for name, entries in (("a", [failed, measured]), ("b", [measured, failed])):
        write_run(tmp_path / name, manifest(), entries, redact=plain)
        assert list(open_run(tmp_path / name).entries()) == [measured]


def test_merging_is_free_of_order_and_may_be_done_twice(tmp_path: Path) -> None:
    shards: list[list[Entry]] = [
        [case(0), (trial_key(0), answer("a"))],
        [case(1), (trial_key(1), answer("b")), (trial_key(0), answer("a"))],
        [case(0), (trial_key(0), answer("other")), (score_key("x"), Score(value=0.5))],
    ]
    paths = [tmp_path / f"{number}.jsonl" for number in range(3)]
    for path, entries in zip(paths, shards, strict=True):
        write_run(path, manifest(partial="a shard"), entries, redact=plain)
    wholes = set()
    for order in itertools.permutations(paths):
        first = _merged(tmp_path / "first.jsonl", *order[:2])
        wholes.add(_merged(tmp_path / "all.jsonl", first, order[2], order[0]).read_bytes())
    assert len(wholes) == 1
    with open_results(None) as store:
        run = open_run(tmp_path / "all.jsonl")
        store.ingest(run.digest, *run.results())
        texts = [
            each.text for each in store.completions([trial_key(0, n) for n in range(5)]).values()
        ]
        assert sorted(map(str, texts)) == ["a", "other"]


def _merged(out: Path, *paths: Path) -> Path:
    whole, entries = merge([open_run(path) for path in paths])
    write_run(out, whole, entries, redact=plain)
    return out


def test_runs_of_different_things_do_not_merge(tmp_path: Path) -> None:
    write_run(tmp_path / "a.jsonl", manifest(), [], redact=plain)
    other = manifest(evalset=facts(edited="expected values"))
    write_run(tmp_path / "b.jsonl", other, [], redact=plain)
    with pytest.raises(Refused, match="are not parts of one run"):
        merge([open_run(tmp_path / "a.jsonl"), open_run(tmp_path / "b.jsonl")])


def test_a_secret_never_reaches_the_file_and_its_answer_is_known_by_digest(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    said = answer("the key is s3cret")
    write_run(
        path, manifest(), [(trial_key(0), said)], redact=lambda text: text.replace("s3cret", "***")
    )
    assert b"s3cret" not in path.read_bytes()
    ((key, found),) = open_run(path).results()[0]
    assert (key, found.text, found.digest) == (trial_key(0), None, said.digest)


def _cut(content: bytes) -> bytes:
    return content[: content.rindex(b"\n", 0, -1) + 1]


def _without_a_line(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(lines[:2] + lines[3:])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_cut, "cut off"),
        (_without_a_line, "lines are missing"),
        (lambda content: content + content.splitlines()[1] + b"\n", "too many"),
        (lambda content: content.replace(b"said so", b"said no"), "not what was written"),
        (lambda content: b"", "cut off"),
        (lambda content: b"<html>\n", "not a line of a run file"),
    ],
)
def test_a_harmed_run_file_is_refused(
    tmp_path: Path, harm: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "run.jsonl"
    write_run(path, manifest(), ENTRIES, redact=plain)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(IntegrityBroken, match=message):
        list(open_run(path).entries())


def test_every_cut_of_a_packed_run_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl.gz"
    write_run(path, manifest(), ENTRIES, redact=plain)
    content = path.read_bytes()
    for length in range(0, len(content), 29):
        path.write_bytes(content[:length])
        with pytest.raises(Refused):
            list(open_run(path).entries())


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(130):
            file.write(b" " * (1 << 20))
    with pytest.raises(Refused, match="a line of more than 128 MB"):
        open_run(path)


def test_a_run_of_another_llmops_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl.gz"
    write_run(path, replace(manifest(), format="llmops/run/v9"), [], redact=plain)
    with pytest.raises(Refused, match="another llmops"):
        open_run(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is no run file"):
        open_run(tmp_path / "run.jsonl")
