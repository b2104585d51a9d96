"""Isolate every test: no home, no keys, no git identity, no network but this machine's.

Two markers choose where a test runs: `slow` ones run with `--slow`, and those that need a library,
a browser or an engine (`needs`) run where it is. `.ci/run` runs all of them.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# No time decides a test: a busy machine generates slowly. In CI, examples are the same each time.
settings.register_profile(
    "busy",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("busy")

VLLM = os.environ.get("LLMOPS_TEST_VLLM")
"""A real `vllm`, for tests/vllm."""
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None
)
"""A real browser, for the tests that look through one."""
LEFT_OUT = pytest.StashKey[dict[str, int]]()
"""The number of tests that were left out, by reason."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that are marked slow, too")


def _missing(what: str) -> str | None:
    """Return what to say where `what` (`vllm`, `chromium` or a library) is not here."""
    if what == "vllm":
        return None if VLLM else "LLMOPS_TEST_VLLM names no vllm"
    if what == "chromium":
        return None if CHROMIUM else "no Chromium is installed"
    return None if find_spec(what) else f"{what} is not installed"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow or cannot run here, and count it."""
    left_out: Counter[str] = Counter()
    chosen = []
    for item in items:
        reasons = [
            reason for mark in item.iter_markers("needs") if (reason := _missing(mark.args[0]))
        ]
        if not config.getoption("slow") and item.get_closest_marker("slow"):
            reasons.append("slow (pytest --slow)")
        if reasons:
            left_out[reasons[0]] += 1
        else:
            chosen.append(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen
    config.stash[LEFT_OUT] = dict(left_out)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts from a worker of pytest-xdist to the process that prints them."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take a worker's counts: every worker collects the same tests."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left out and why."""
    for reason, count in config.stash.get(LEFT_OUT, {}).items():
        terminalreporter.write_line(f"{count} tests not run: {reason}; .ci/run runs them")


KEEP = {"PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "SYSTEMROOT"}


@pytest.fixture(autouse=True, scope="session")
def _world_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For fixtures that live longer than a test."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _leave_home(monkeypatch, tmp_path_factory.mktemp("home"))
        yield


@pytest.fixture(autouse=True)
def _world_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave_home(monkeypatch, tmp_path_factory.mktemp("home"))


def _leave_home(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name in list(os.environ):
        if name not in KEEP and not name.startswith(("PYTEST", "COV", "HYPOTHESIS")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ada Tester")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ada@example.org")


class ReachedOutside(AssertionError):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else None
        if host is not None and host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ReachedOutside(f"a test reached for {address}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def repo_root() -> Path:
    """The checkout these tests stand in."""
    return Path(__file__).parent.parent
