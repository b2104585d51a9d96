"""Large answers and many cases: the memory of a run is bounded by what it shows."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.projects import LLMOPS, make_project
from tests.servers.faulty import FaultServer

pytestmark = pytest.mark.slow

# getrusage would tell the peak of the process that started this one, where that is larger.
MEGABYTE = "x" * 1_000_000
PEAK = """
import pathlib, sys
from llmops_cli.cli.main import run

code = run(sys.argv[1:])
status = pathlib.Path("/proc/self/status").read_text()
kilobytes = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
print(int(kilobytes) // 1024, file=sys.stderr)
sys.exit(code)
"""


def test_three_hundred_answers_of_a_megabyte_are_kept_whole_and_memory_is_not_theirs(
    tmp_path: Path,
) -> None:
    with FaultServer(reply=lambda _: MEGABYTE) as server:
        project = make_project(tmp_path, server.url, cases=300, max_concurrency=8)
        project.evalset(scorers=[{"length": {"min": 1_000_000}}])
        done = subprocess.run(
            [LLMOPS[0], "-c", PEAK, "eval"],
            cwd=tmp_path,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    peak = int(done.stderr.split()[-1])
    assert (tmp_path / ".llmops/store/results.sqlite3").stat().st_size > 300_000_000
    assert peak < 250, f"{peak} MB"
