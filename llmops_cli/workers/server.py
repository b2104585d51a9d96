"""A program that serves beside us: started, its words kept, ended with all it started.

It runs below a guard (`guard`), which ends it also where this process is killed. What it writes
goes into a log file, without secrets; the last lines are at hand for what must be said about it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")
STOPPING = 10.0
"""Seconds for the guard to end everything, before it is killed itself."""
KEPT = 200
"""Last lines in memory."""
LONGEST = 65536
"""Bytes of a line; a longer one is several."""
LARGEST_LOG = 20_000_000
"""Characters of a log; what comes after is told in errors and not written."""


class Server:
    """A program that runs until `stop`, or until it ends."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        log: Path,
        redact: Callable[[str], str],
    ) -> None:
        """Starts `command` in `folder`. Raises `OSError` where the log cannot be written."""
        self._redact = redact
        self._lines: deque[str] = deque(maxlen=KEPT)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._log = os.fdopen(handle, "w", encoding="utf-8")
        self._guard = subprocess.Popen(  # noqa: S603 - what the project says, where it is trusted
            [sys.executable, "-I", str(GUARD), *command],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal is llmops' to deal with
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ended(self) -> str | None:
        """How it ended by itself: `exit code 1`, `killed by SIGKILL`; None while it runs."""
        code = self._guard.poll()
        if code is None:
            return None
        self._reader.join(1.0)  # its last words
        try:
            return f"killed by {signal.Signals(code - 128).name}"
        except ValueError:
            return f"exit code {code}"

    def last(self, lines: int) -> list[str]:
        """The last lines it wrote, at most `lines`."""
        return list(self._lines)[-lines:]

    def let_go(self) -> None:
        """Has it end, with all it started; waits for nothing."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()

    def stop(self) -> None:
        """Ends it and all it started, and returns when they are gone."""
        self.let_go()
        try:
            self._guard.wait(STOPPING)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        self._reader.join(1.0)

    def _read(self) -> None:
        assert self._guard.stdout is not None
        written = 0
        with self._log as log, self._guard.stdout as said:
            for raw in iter(lambda: said.readline(LONGEST), b""):
                line = self._redact(raw.decode("utf-8", "replace").rstrip())
                self._lines.append(line)
                if written < LARGEST_LOG:
                    written += len(line) + 1
                    log.write(line + "\n")
                    log.flush()


def fresh_log(folder: Path, stem: str, *, keep: int) -> Path:
    """A new log's path in `folder`; of earlier ones with this stem the newest `keep` stay."""
    earlier = sorted(folder.glob(f"{stem}-*.log"), key=_age)
    for old in earlier[: max(0, len(earlier) - keep)]:
        old.unlink(missing_ok=True)
    return folder / f"{stem}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}.log"


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process tidies up too
        return 0.0
