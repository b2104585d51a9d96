"""The locks that README's commands install from fit pyproject.toml. `.ci/lock.py` writes them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUN, DEV, FRAMEWORKS = "requirements.lock", "requirements-dev.lock", ".ci/frameworks.lock"
MACHINES = [
    {
        "python_version": python,
        "python_full_version": f"{python}.7",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": system,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
        "os_name": "posix",
        "platform_machine": machine,
    }
    for python in ("3.11", "3.12", "3.13", "3.14")
    for system, machine in (
        ("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "x86_64"), ("darwin", "arm64"),
    )
]  # fmt: skip


def locked(lock: str) -> list[tuple[Requirement, int]]:
    """Return the pins of a lock and of those it includes, each with its number of hashes."""
    pins: list[tuple[Requirement, int]] = []
    for entry in (ROOT / lock).read_text().replace("\\\n", " ").splitlines():
        if entry.startswith("-r "):
            pins += locked(entry[3:])
        elif not entry.startswith("#"):
            pin, *hashes = entry.split(" --hash=sha256:")
            assert all(re.fullmatch(r"[0-9a-f]{64} *", digest) for digest in hashes), entry
            pins.append((Requirement(pin), len(hashes)))
    return pins


def required(extra: str | None) -> list[Requirement]:
    """Return what llmops with `extra` requires, the extras that it names resolved."""
    names = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    requirements: list[Requirement] = [] if extra is None else required(None)
    for requirement in map(Requirement, names):
        if requirement.name == PROJECT["name"]:
            requirements += [more for name in requirement.extras for more in required(name)]
        else:
            requirements.append(requirement)
    return requirements


@pytest.mark.parametrize(("lock", "extra"), [(RUN, None), (DEV, "dev"), (FRAMEWORKS, "frameworks")])
def test_every_requirement_is_locked_once_on_every_machine(lock: str, extra: str | None) -> None:
    pins = [pin for pin, _ in locked(lock)]
    for machine in MACHINES:
        versions: dict[str, str] = {}
        for pin in pins:
            if pin.marker is None or pin.marker.evaluate(machine):
                assert canonicalize_name(pin.name) not in versions, f"{pin} twice on {machine}"
                (specifier,) = pin.specifier
                assert specifier.operator == "=="
                versions[canonicalize_name(pin.name)] = specifier.version
        for requirement in required(extra):
            version = versions[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"{requirement}: {version} is locked"


@pytest.mark.parametrize("lock", [RUN, DEV, FRAMEWORKS])
def test_every_locked_package_has_hashes_and_no_index_is_named(lock: str) -> None:
    assert [str(pin) for pin, hashes in locked(lock) if not hashes] == []
    assert "://" not in (ROOT / lock).read_text()


def test_no_lock_brings_torch() -> None:
    names = {pin.name for lock in (DEV, FRAMEWORKS) for pin, _ in locked(lock)}
    assert {name for name in names if name.startswith(("torch", "nvidia"))} == set()


def test_the_locks_bring_what_builds_the_package() -> None:
    names = {pin.name for pin, _ in locked(RUN)}
    assert {"hatchling", "editables", "setuptools"} <= names
