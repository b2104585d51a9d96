from __future__ import annotations

import io
import re
import time

from rich.console import Console

from llmops_cli.render.progress import Pace, RunProgress

AT_ONCE = Pace(quiet=0.0, line=1_000.0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def log() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=80), file


def test_a_log_gets_a_line_for_every_tenth_of_the_way() -> None:
    console, file = log()
    clock = Clock()
    with RunProgress(console, clock=clock) as progress:
        for done in range(1_001):
            clock.now += 0.01
            progress(done, 1_000, failed=done // 300)
    lines = file.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "calls 100 of 1,000 (10%) · 100.0/s · 9 s left"
    assert lines[-1] == "calls 1,000 of 1,000 (100%) · 3 failed · 100.0/s"


def test_a_run_of_less_than_a_second_shows_nothing() -> None:
    console, file = log()
    clock = Clock()
    with RunProgress(console, clock=clock) as progress:
        for done in range(101):
            clock.now += 0.005
            progress(done, 100, 0)
    assert file.getvalue() == ""


def test_a_run_that_needs_no_call_shows_nothing() -> None:
    console, file = log()
    with RunProgress(console, pace=AT_ONCE) as progress:
        progress(0, 0)
    assert file.getvalue() == ""


def test_a_slow_provider_is_not_mistaken_for_a_hang() -> None:
    console, file = log()
    with RunProgress(console, pace=Pace(quiet=0.0, line=0.05)) as progress:
        progress(0, 100)
        deadline = time.monotonic() + 5
        while file.getvalue().count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert file.getvalue().splitlines()[:2] == ["calls 0 of 100 (0%)"] * 2


def test_a_log_says_what_holds_a_run_up_until_it_does_no_more() -> None:
    console, file = log()
    clock = Clock()
    with RunProgress(console, clock=clock, pace=Pace(line=0.0)) as progress:
        progress(0, 100)
        progress.slowed_by("tiny says: too many requests; waiting")
        clock.now += 2.0
        progress(1, 100)
        progress.slowed_by("")
        clock.now += 2.0
        progress(50, 100)
    lines = file.getvalue().splitlines()
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
    console, file = log()
    clock = Clock()
    with RunProgress(console, clock=clock) as progress:
        progress(0, 200)
        clock.now += 60.0
        progress(50, 200)
    assert file.getvalue() == "calls 50 of 200 (25%) · 0.8/s · 3 min 00 s left\n"


def test_what_a_run_waits_for_is_said_at_once_and_again() -> None:
    console, file = log()
    clock = Clock()
    with RunProgress(console, pace=Pace(quiet=0.0, line=30.0), clock=clock) as progress:
        progress.waiting("starting vllm serve [tiny]")
        for _ in range(100):
            clock.now += 1.0
            progress(0, 10)
        progress.waiting("")
        progress(10, 10)
    assert file.getvalue().splitlines() == [
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
