"""Shards of a run, and the merge that decides about all of them."""

from __future__ import annotations

import gzip
import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_cli.stores.run_file import open_run, write_run
from tests.projects import Project, make_cases, make_project, wait_until_asked
from tests.servers.faulty import FaultServer, Server

CASES = 12


@pytest.fixture
def project(tmp_path: Path) -> Iterator[tuple[Project, Server]]:
    """A project with a baseline in production and a changed prompt."""
    with FaultServer() as server:
        project = make_project(tmp_path / "project", server.url, cases=CASES)
        project.promote_v1()
        project.prompt(system="Answer briefly.")
        yield project, server


def _shards(project: Project, count: int, *, folder: str = "s") -> list[str]:
    files = []
    for index in range(1, count + 1):
        file = f"{folder}{index}.jsonl.gz"
        store = {"LLMOPS_STORE": str(project.root.parent / f"{folder}-store-{index}")}
        result = project.run("eval", "--shard", f"{index}/{count}", "--out", file, env=store)
        assert result.code == 0, result.text
        assert "no verdict" in result.out
        files.append(file)
    return files


def _without_times(report: dict[str, object]) -> str:
    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {
                name: None if "latency" in name or "first_token" in name else clean(item)
                for name, item in value.items()
            }
        return [clean(item) for item in value] if isinstance(value, list) else value

    return repr(clean(report))


@pytest.mark.parametrize("count", [1, 3])
def test_a_merge_is_the_report_of_a_run_without_shards(
    project: tuple[Project, Server], tmp_path: Path, count: int
) -> None:
    folder, server = project
    files = _shards(folder, count)
    calls = server.requests
    random.Random(1).shuffle(files)
    merged = folder.run("merge", "--json", *files, "--out", "m.jsonl.gz")
    assert server.requests == calls
    again = folder.run("merge", "--json", *sorted(files), "--out", "n.jsonl.gz")
    assert again.out == merged.out
    assert (folder.root / "m.jsonl.gz").read_bytes() == (folder.root / "n.jsonl.gz").read_bytes()
    whole = folder.eval(env={"LLMOPS_STORE": str(tmp_path / "whole")})
    assert merged.code == whole.code == 0, merged.text
    assert _without_times(merged.report) == _without_times(whole.report)
    made = server.requests - calls
    assert made == merged.report["calls"], "sharded and whole runs make the same calls"


def test_a_missing_doubled_or_foreign_shard_is_refused(
    project: tuple[Project, Server],
) -> None:
    folder, _ = project
    first, second = _shards(folder, 2)
    missing = folder.run("merge", first)
    assert missing.code == 2
    assert "shard 2 of 2 is missing" in missing.text
    doubled = folder.run("merge", first, second, second)
    assert doubled.code == 2
    assert "more than once" in doubled.text
    folder.prompt(system="Answer at length.")
    foreign = folder.run("merge", first, second)
    assert foreign.code == 2
    assert "of another run" in foreign.text
    other, _ = _shards(folder, 2, folder="t")
    mixed = folder.run("merge", other, second)
    assert mixed.code == 2
    assert "different runs" in mixed.text


def test_shards_that_were_started_with_other_options_are_not_merged(
    project: tuple[Project, Server],
) -> None:
    folder, _ = project
    first, second = _shards(folder, 2)
    for option in ("--strict", "--require-baseline"):
        again = folder.run("eval", "--shard", "2/2", option, "--out", second)
        assert again.code == 0, again.text
        merged = folder.run("merge", first, second)
        assert merged.code == 2, option
        assert "different runs" in merged.text


def test_a_shard_has_no_verdict_and_no_report(project: tuple[Project, Server]) -> None:
    folder, _ = project
    (file, _) = _shards(folder, 2)
    shown = folder.run("report", file)
    assert shown.code == 2
    assert "no verdict" in shown.text
    refused = folder.run("eval", "--shard", "1/2")
    assert refused.code == 2
    assert "--out" in refused.text


def test_a_damaged_shard_is_never_a_pass(project: tuple[Project, Server]) -> None:
    folder, _ = project
    first, second = _shards(folder, 2)
    path = folder.root / second
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[:3] + lines[4:])))
    assert folder.run("merge", first, second).code not in {0, 1}


@pytest.mark.parametrize(
    ("environ", "shard"),
    [
        ({"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "2"}, "2/2"),
        ({"JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "2"}, "2/2"),
        (
            {
                "SLURM_ARRAY_TASK_ID": "5",
                "SLURM_ARRAY_TASK_MIN": "4",
                "SLURM_ARRAY_TASK_COUNT": "2",
            },
            "2/2",
        ),
    ],
)
def test_auto_takes_the_shard_of_the_job(
    project: tuple[Project, Server], environ: dict[str, str], shard: str
) -> None:
    folder, _ = project
    result = folder.run("eval", "--shard", "auto", "--out", "s.jsonl.gz", env=environ)
    assert result.code == 0, result.text
    assert f"shard {shard}:" in result.out


def test_shards_of_replayed_answers_merge_to_the_bytes_of_the_whole_run(tmp_path: Path) -> None:
    project = make_project(tmp_path, cases=30)
    rows = [{"id": f"c{at:03}", "output": f"say {at}" if at % 4 else "no"} for at in range(30)]
    project.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    project.write(
        "llmops.yaml",
        json.dumps({"models": {"tiny": {"provider": "replay", "file": "answers.jsonl"}}}),
    )
    files = _shards(project, 5)
    whole = project.run("eval", "--out", "whole.jsonl.gz")
    merged = project.run("merge", *files, "--out", "merged.jsonl.gz")
    assert merged.code == whole.code
    content = [
        gzip.decompress((project.root / name).read_bytes())
        for name in ("whole.jsonl.gz", "merged.jsonl.gz")
    ]
    assert content[0] == content[1]
    assert project.run("merge", *files, "--json").out == project.eval().out


def test_cases_of_a_group_or_with_one_request_are_in_one_shard(tmp_path: Path) -> None:
    with FaultServer() as server:
        project = make_project(tmp_path / "project", server.url, cases=0)
        project.cases(
            {
                "id": f"c{at:03}",
                "inputs": {"question": f"say {at // 2}"},
                "expected": f"say {at // 2}",
                **({"group": f"g{at % 3}"} if at < 6 else {}),
            }
            for at in range(40)
        )
        files = _shards(project, 4)
        assert server.requests == 20, "a request that two cases share is made once"
        merged = project.run("merge", "--json", *files)
    assert merged.report["calls"] == 20
    assert merged.evalset["candidate"]["measured"] == 40


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_shards_lose_nothing_and_pay_for_nothing_twice(
    project: tuple[Project, Server], tmp_path: Path, kills: int
) -> None:
    folder, server = project
    folder.cases(make_cases(20 * kills))
    before, at_risk, chance = server.requests, 0, random.Random(kills)
    stores = {index: {"LLMOPS_STORE": str(tmp_path / f"store-{index}")} for index in (1, 2)}
    arguments = {
        index: ["eval", "--shard", f"{index}/2", "--out", f"k{index}.jsonl.gz"] for index in (1, 2)
    }
    for kill in range(kills):
        index = kill % 2 + 1
        process = folder.start(*arguments[index], env=stores[index])
        wait_until_asked(server, server.requests + chance.randint(1, 10), process)
        process.send(signal.SIGKILL)
        process.wait()
        at_risk += 16  # calls in flight: a killed process can't store what it never received
    for index in (1, 2):
        assert folder.run(*arguments[index], env=stores[index]).code == 0
    merged = folder.run("merge", "--json", "k1.jsonl.gz", "k2.jsonl.gz")
    candidate, baseline = merged.evalset["candidate"], merged.evalset["baseline"]
    assert candidate["measured"] == candidate["planned"] == 20 * kills
    assert baseline["measured"] == baseline["planned"]
    planned = candidate["planned"] + baseline["planned"]
    assert server.requests - before <= planned + at_risk


def test_a_merge_under_another_base_is_refused(project: tuple[Project, Server]) -> None:
    folder, _ = project
    refused = folder.run("merge", *_shards(folder, 2), "--base", "HEAD")
    assert refused.code == 2
    assert "--base (none)" in refused.text


def test_a_shard_that_lacks_a_case_makes_the_merge_incomplete(
    project: tuple[Project, Server],
) -> None:
    folder, _ = project
    first, second = _shards(folder, 2)
    run = open_run(folder.root / second)
    (lost, *_) = run.cases()
    keys = {side.request for side in lost.sides.values()}
    entries = [
        entry
        for entry in run.entries()
        if entry != lost
        and not (isinstance(entry, tuple) and getattr(entry[0], "request", "") in keys)
    ]
    write_run(folder.root / second, run.manifest, entries, redact=str)
    merged = folder.run("merge", "--json", first, second)
    assert merged.code != 0
    assert merged.evalset["candidate"]["measured"] == CASES - 1
