"""Counters are shared by all processes of a machine, and never stop a run."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from llmops_cli.stores.database import COUNTERS_FILE, SAME_BOOT, FileCounters

ADD = """
import sys
from pathlib import Path
from llmops_cli.stores.database import FileCounters

counter = FileCounters(Path(sys.argv[1]))("counter")
for _ in range(500):
    counter.change(lambda number: max(number, 0.0) + 1)
"""


def value(folder: Path, name: str = "counter") -> float:
    with closing(FileCounters(folder)) as counters:
        return counters(name).change(lambda number: number)


def test_a_number_is_there_for_the_next_process_and_at_first_minus_infinity(
    tmp_path: Path,
) -> None:
    with closing(FileCounters(tmp_path)) as counters:
        assert counters("counter").change(lambda _: 7.5) == -math.inf
        assert counters("another").change(lambda number: number) == -math.inf
    assert value(tmp_path) == 7.5


def test_four_processes_change_one_number_and_no_change_is_lost(tmp_path: Path) -> None:
    adding = [subprocess.Popen([sys.executable, "-c", ADD, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(30) for process in adding] == [0, 0, 0, 0]
    assert value(tmp_path) == 2000.0


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    with closing(FileCounters(tmp_path / "store")) as counters:
        counters("counter")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_file_that_is_none_never_stops_a_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / COUNTERS_FILE).write_bytes(content)
    with closing(FileCounters(tmp_path)) as counters:
        counters("counter").change(lambda _: 3.0)
        assert counters("counter").change(lambda number: number) == 3.0


def test_a_place_that_cannot_be_written_never_stops_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with closing(FileCounters(tmp_path / "file")) as counters:
        counters("counter").change(lambda _: 3.0)
        assert counters("counter").change(lambda number: number) == 3.0


def test_a_restart_of_the_machine_forgets_moments_of_the_clock_before(tmp_path: Path) -> None:
    with closing(FileCounters(tmp_path)) as counters:
        counters("counter").change(lambda _: 1e9)
    with closing(sqlite3.connect(tmp_path / COUNTERS_FILE)) as database:
        database.execute("UPDATE cells SET boot = boot - ?", (2 * SAME_BOOT,))
        database.commit()
    assert value(tmp_path) == -math.inf


def test_the_clock_is_the_machines_and_not_the_wall_s(tmp_path: Path) -> None:
    with closing(FileCounters(tmp_path)) as counters:
        before = time.monotonic()
        assert before <= counters("counter").now() <= time.monotonic()
