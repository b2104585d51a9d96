"""The processes below a process and their connections, read from /proc."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

LISTENING = "0A"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def below(pid: int) -> dict[int, str]:
    """Every process below `pid`, with its command."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            after = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
            parents.setdefault(int(after.split()[1]), []).append(int(entry.parent.name))
    commands: dict[int, str] = {}
    layer = parents.get(pid, [])
    while layer:
        commands.update((item, _command(item)) for item in layer)
        layer = [item for parent in layer for item in parents.get(parent, [])]
    return commands


def alive(pids: Iterable[int]) -> list[str]:
    """The commands of those that still run."""
    return [command for pid in pids if (command := _command(pid))]


def all_gone(pids: Iterable[int], within: float = 30.0) -> bool:
    """Whether none of them runs any more, in a while."""
    known, until = list(pids), time.monotonic() + within
    while alive(known) and time.monotonic() < until:
        time.sleep(0.1)
    return not alive(known)


def peers(pids: Iterable[int]) -> Iterator[IPv4Address]:
    """The addresses that the TCP sockets of processes are bound to and connected with."""
    mine: set[str] = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):
                mine.add(str(entry.readlink()))
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if f"socket:[{words[9]}]" in mine:
            ends = words[1:2] if words[3] == LISTENING else words[1:3]
            yield from (_address(end) for end in ends)


def _address(end: str) -> IPv4Address:
    return IPv4Address(int.from_bytes(bytes.fromhex(end.partition(":")[0]), "little"))


def _command(pid: int) -> str:
    """Empty for a process that is gone, or only waits to be forgotten."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
