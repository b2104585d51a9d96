"""Every test lives in a world of its own: no home, no keys, no git identity, no outside network."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

VLLM = os.environ.get("LLMOPS_TEST_VLLM")
"""A real `vllm`, for tests/vllm."""
BROWSERS = ("chromium", "google-chrome", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
"""A real browser, for those tests that look through one."""
BROWSED = ("e2e/test_page.py", "e2e/test_site_search.py")
collect_ignore = [*([] if VLLM else ["vllm"]), *([] if CHROMIUM else BROWSED)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was left out is said."""
    if VLLM is None:
        terminalreporter.write_line("tests/vllm not run: LLMOPS_TEST_VLLM names no vllm (.ci/run)")
    if CHROMIUM is None:
        for name in BROWSED:
            terminalreporter.write_line(f"tests/{name} not run: no Chromium here (.ci/run)")


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
