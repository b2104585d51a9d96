from __future__ import annotations

import io
import re
import time

from rich.console import Console

from llmops_cli.render.progress import Pace, RunProgress

AT_ONCE = Pace(quiet=0.0, line=1_000.0)


class Log:
    """A run's progress in a log, and the clock that it is measured with."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.now = 100.0
        self._file = io.StringIO()
        console = Console(file=self._file, width=80)
        self.progress = RunProgress(console, pace=pace, clock=lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return self._file.getvalue().splitlines()


def test_a_log_gets_a_line_for_every_tenth_of_the_way() -> None:
    log = Log()
    with log.progress as progress:
        for done in range(1_001):
            log.now += 0.01
            progress(done, 1_000, failed=done // 300)
    lines = log.lines
    assert len(lines) == 10
    assert lines[0] == "calls 100 of 1,000 (10%) · 100.0/s · 9 s left"
    assert lines[-1] == "calls 1,000 of 1,000 (100%) · 3 failed · 100.0/s"


def test_a_run_of_less_than_a_second_shows_nothing() -> None:
    log = Log()
    with log.progress as progress:
        for done in range(101):
            log.now += 0.005
            progress(done, 100, 0)
    assert log.lines == []


def test_a_run_that_needs_no_call_shows_nothing() -> None:
    log = Log(AT_ONCE)
    with log.progress as progress:
        progress(0, 0)
    assert log.lines == []


def test_a_slow_provider_is_not_mistaken_for_a_hang() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80)
    with RunProgress(console, pace=Pace(quiet=0.0, line=0.05)) as progress:
        progress(0, 100)
        deadline = time.monotonic() + 5
        while file.getvalue().count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert file.getvalue().splitlines()[:2] == ["calls 0 of 100 (0%)"] * 2


def test_a_log_says_what_holds_a_run_up_until_it_does_no_more() -> None:
    log = Log(Pace(line=0.0))
    with log.progress as progress:
        progress(0, 100)
        progress.slowed_by("tiny says: too many requests; waiting")
        log.now += 2.0
        progress(1, 100)
        progress.slowed_by("")
        log.now += 2.0
        progress(50, 100)
    lines = log.lines
    assert lines[0].endswith("left · tiny says: too many requests; waiting")
    assert lines[-1] == "calls 50 of 100 (50%) · 12.5/s · 4 s left"


def test_a_terminal_gets_a_bar_that_goes_when_the_run_is_over() -> None:
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True, color_system=None)
    with RunProgress(console, pace=AT_ONCE) as progress:
        progress.slowed_by("[b]tiny says: busy")
        progress(0, 10)
        progress(5, 10, failed=1)
    text = file.getvalue()
    assert "[b]tiny says: busy" in text
    assert re.search(r"5/10 .*1 failed", text)
    assert text.rstrip().endswith("\x1b[2K")


def test_the_remaining_time_is_estimated_from_the_rate() -> None:
    log = Log()
    with log.progress as progress:
        progress(0, 200)
        log.now += 60.0
        progress(50, 200)
    assert log.lines == ["calls 50 of 200 (25%) · 0.8/s · 3 min 00 s left"]


def test_what_a_run_waits_for_is_said_at_once_and_again() -> None:
    log = Log(Pace(quiet=0.0, line=30.0))
    with log.progress as progress:
        progress.waiting("starting vllm serve [tiny]")
        for _ in range(100):
            log.now += 1.0
            progress(0, 10)
        progress.waiting("")
        progress(10, 10)
    assert log.lines == [
        "starting vllm serve [tiny]",
        "starting vllm serve [tiny]: 30 s so far",
        "starting vllm serve [tiny]: 1 min 00 s so far",
        "starting vllm serve [tiny]: 1 min 30 s so far",
        "calls 10 of 10 (100%) · 0.1/s",
    ]


def test_a_terminal_shows_what_a_run_waits_for_until_it_is_there() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    with RunProgress(console, pace=AT_ONCE) as progress:
        progress.waiting("starting vllm serve [tiny]")
        time.sleep(0.2)
        progress.waiting("")
        progress(1, 1)
    assert "starting vllm serve [tiny]" in file.getvalue()


def test_what_was_not_attempted_is_not_among_what_failed() -> None:
    log = Log()
    with log.progress as progress:
        progress(0, 100)
        log.now += 2
        progress.skipped(49)
        progress(60, 100, failed=11)
    (line,) = log.lines
    assert "11 failed · 49 not attempted" in line
