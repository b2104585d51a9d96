"""Shows the progress of a long run: a live bar on a terminal, sparse plain lines in a CI log.

Nothing is shown for a run that needs no call or ends within a second. A log gets a line every tenth
of the way and after half a minute without one, so that a slow provider is not mistaken for a hang.
A heartbeat thread keeps both alive while no call returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from llmops_cli.render.safe_text import terminal_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When something is shown: seconds, and the share of the way between two lines."""

    quiet: float = 1.0
    """Nothing before."""
    line: float = 30.0
    """A line in a log at least so often."""
    step: float = 0.1


class RunProgress:
    """A context manager; call it as often as you like, from one thread."""

    def __init__(
        self,
        console: Console,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._pace = pace or Pace()
        self._clock = clock
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._began: float | None = None
        self._shown_at = 0.0
        self._shown_done = 0
        self._done = self._planned = self._failed = self._skipped = 0
        self._elapsed = 0.0
        self._slowed_by = ""
        self._waiting: tuple[str, float] | None = None
        self._live: Progress | None = None

    def __enter__(self) -> Self:
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._heart.join()
        if self._live is not None:
            self._live.stop()

    def __call__(self, done: int, planned: int, failed: int = 0) -> None:
        """Take in that `done` of `planned` calls ended, `failed` of them badly."""
        with self._lock:
            now = self._clock()
            if self._began is None:
                self._began = now
                if self._waiting is None:
                    self._shown_at = now
            self._done, self._planned, self._failed = done, planned, failed
            self._elapsed = now - self._began
            self._show(now)

    def skipped(self, count: int) -> None:
        """Take in how many of the calls that ended were not attempted."""
        self._skipped = count

    def slowed_by(self, what: str) -> None:
        """Show why calls go on slowly or not at all; empty: they go on."""
        with self._lock:
            self._slowed_by = terminal_line(what)

    def waiting(self, what: str) -> None:
        """Show what must be ready before any call is made; empty: it is."""
        with self._lock:
            now = self._clock()
            self._waiting = (terminal_line(what), now) if what else None
            if self._live is not None:
                self._live.stop()
                self._live = None
            if what and not self._console.is_terminal:
                self._shown_at = now
                self._console.print(Text(terminal_line(what)), soft_wrap=True)

    def _beat(self) -> None:
        while not self._over.wait(min(self._pace.quiet, self._pace.line) / 4):
            with self._lock:
                self._show(self._clock())

    def _show(self, now: float) -> None:
        """Show what is due. The caller has the lock."""
        if self._waiting is not None:
            self._wait(*self._waiting, now)
            return
        if self._began is None or not self._planned or now - self._began < self._pace.quiet:
            return
        if not self._console.is_terminal:
            self._line(now)
            return
        if self._live is None and self._done < self._planned:
            self._live = _bar(self._console, "calls", started=now - self._began)
        if self._live is not None:
            self._live.update(
                self._live.task_ids[0],
                completed=self._done,
                total=self._planned,
                sentence=self._sentence(),
            )

    def _sentence(self) -> str:
        """Return `3 failed · 41.2/s · 6 s left`: all but the count."""
        parts = [f"{self._failed:,} failed"] if self._failed else []
        parts += [f"{self._skipped:,} not attempted"] if self._skipped else []
        rate = self._done / self._elapsed if self._elapsed > 0 else 0.0
        if rate:
            parts.append(f"{rate:.1f}/s")
        if rate and self._done < self._planned:
            parts.append(f"{_duration((self._planned - self._done) / rate)} left")
        if self._slowed_by:
            parts.append(self._slowed_by)
        return " · ".join(parts)

    def _wait(self, what: str, since: float, now: float) -> None:
        if self._console.is_terminal:
            if self._live is None and now - since >= self._pace.quiet:
                self._live = _bar(self._console, what, started=now - since)
        elif now - self._shown_at >= self._pace.line:
            self._shown_at = now
            line = f"{what}: {_duration(now - since)} so far"
            self._console.print(Text(line), soft_wrap=True)

    def _line(self, now: float) -> None:
        done, planned = self._done, self._planned
        step = done - self._shown_done >= self._pace.step * planned
        ended = done == planned and self._shown_done < planned
        late = now - self._shown_at >= self._pace.line and done < planned
        if not (step or ended or late):
            return
        self._shown_at, self._shown_done = now, done
        line = f"calls {done:,} of {planned:,} ({100 * done // planned}%)"
        sentence = self._sentence()
        text = Text(f"{line} · {sentence}" if sentence else line)
        self._console.print(text, soft_wrap=True)


def _bar(console: Console, label: str, *, started: float) -> Progress:
    """Return the bar of a terminal, which began `started` seconds ago and goes when it stops."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[sentence]}", style="dim", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar.add_task(label, total=None, sentence="")
    bar.tasks[0].start_time = bar.get_time() - started
    bar.start()
    return bar


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
