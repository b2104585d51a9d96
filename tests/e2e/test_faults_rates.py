"""Several processes on one machine share one rate per minute of a model."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.projects import Project, make_cases, make_project
from tests.servers.faulty import FaultServer

pytestmark = pytest.mark.slow

PROCESSES = 4


def shards(root: Path, url: str, cases: int, **limits: Any) -> Project:
    """One project whose evalsets, one for each process, ask different questions."""
    project = make_project(root, url, cases=0, **limits)
    (root / "evalsets/support.yaml").unlink()
    (root / "evalsets/support.jsonl").unlink()
    every = make_cases(cases * PROCESSES)
    for shard in range(PROCESSES):
        project.write(
            f"evalsets/shard{shard}.yaml",
            json.dumps({
                "prompt": "support",
                "scorers": [{"exact": "{{ expected }}"}],
                "cases": every[shard * cases : (shard + 1) * cases],
            }),
        )  # fmt: skip
    return project


@pytest.mark.parametrize(
    ("limits", "per_second"),
    [({"rpm": 600}, 10.0), ({"tpm": 10_200}, 10.0)],  # the server counts 17 tokens a call
    ids=["requests", "tokens"],
)
def test_the_rates_of_four_processes_add_up_to_the_models(
    tmp_path: Path, limits: dict[str, int], per_second: float
) -> None:
    cases = 12
    with FaultServer() as server:
        project = shards(tmp_path, server.url, cases, **limits)
        running = [
            project.start("eval", "--json", "--evalset", f"shard{shard}")
            for shard in range(PROCESSES)
        ]
        ran = [process.wait() for process in running]
        arrivals = sorted(server.arrivals)
    assert [result.report["calls"] for result in ran] == [cases] * PROCESSES
    assert len(arrivals) == cases * PROCESSES
    for at, first in enumerate(arrivals):
        for until in range(at, len(arrivals)):
            span = arrivals[until] - first
            # a second's worth may come at once; what is on its way may arrive together
            assert until - at + 1 <= per_second * (span + 1.0) + PROCESSES + 1, span
    # and the rate is used, not only kept
    assert arrivals[-1] - arrivals[0] < 3 * cases * PROCESSES / per_second


def test_a_killed_process_owes_the_others_nothing(tmp_path: Path) -> None:
    with FaultServer() as server:
        project = shards(tmp_path, server.url, 20, rpm=120)
        killed = project.start("eval", "--evalset", "shard0")
        while server.requests < 3:
            time.sleep(0.01)
        killed.send(signal.SIGKILL)
        killed.wait()
        before = len(server.arrivals)
        four = ("eval", "--evalset", "shard1", "--case", "c02?", "--sample", "4")
        began = time.monotonic()
        assert project.run(*four).code == 0
        first, *_, last = server.arrivals[before:]
    assert len(server.arrivals) == before + 4
    # 17 calls had been waiting, 8.5 s of the rate: the first comes as soon as the others follow
    assert first - began < 8.5 + (last - first)


def test_without_a_rate_nothing_is_kept(tmp_path: Path) -> None:
    with FaultServer() as server:
        project = make_project(tmp_path, server.url)
        assert project.eval().report["calls"] == 20
    assert not (tmp_path / ".llmops/store/pace.sqlite3").exists()
