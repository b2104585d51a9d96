"""No answer keeps the gate busy: scoring ends by itself, and at once after a signal."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.projects import make_project, wait_until_asked
from tests.servers.faulty import FaultServer

RECURSIVE = {"anyOf": [{"items": {"$ref": "#"}, "minItems": at} for at in (1, 2, 3)]}
"""Every further level of an answer triples the time."""
NESTED = "[" * 40 + "]" * 40


@pytest.mark.slow
def test_an_answer_that_takes_forever_to_score_is_not_measured(tmp_path: Path) -> None:
    with FaultServer(reply=lambda _: NESTED) as server:
        project = make_project(tmp_path, server.url, cases=2)
        project.evalset(scorers=[{"json_schema": {"schema": RECURSIVE}}])
        result = project.run("eval")
    assert result.code == 3
    assert "2 s of CPU time" in result.text


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_whose_scores_take_forever(
    tmp_path: Path, which: signal.Signals
) -> None:
    with FaultServer(reply=lambda _: NESTED) as server:
        project = make_project(tmp_path, server.url, cases=60, max_concurrency=30)
        project.evalset(scorers=[{"json_schema": {"schema": RECURSIVE}}])
        process = project.start("eval")
        wait_until_asked(server, 2, process)
        time.sleep(1)
        process.send(which)
        sent = time.monotonic()
        result = process.wait()
    assert result.code == 130
    assert time.monotonic() - sent < 10  # 5 on a machine with nothing else to do
    assert "run the same command again" in result.text
