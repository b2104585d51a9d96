"""Packages and formats that the project must not depend on."""

from __future__ import annotations

import ast
import re
import tomllib
from itertools import chain

from tests.architecture.test_layers import ROOT, modules

REFUSED = {"litellm", "diskcache"}
"""litellm 1.82.7 and 1.82.8 stole credentials on import; diskcache unpickles what it reads."""
RUNS_WHAT_IT_READS = {"pickle", "cpickle", "marshal", "shelve", "cloudpickle", "dill", "joblib"}


PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


def declared() -> set[str]:
    """Every distribution that pyproject.toml names, in any group or extra, by its plain name."""
    groups = PYPROJECT.get("dependency-groups", {}).values()
    lines = [
        *PYPROJECT["build-system"]["requires"],
        *PROJECT["dependencies"],
        *chain.from_iterable(PROJECT.get("optional-dependencies", {}).values()),
        *(line for line in chain.from_iterable(groups) if isinstance(line, str)),
    ]
    names = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name}


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of everything that a module imports, in function bodies too."""
    libraries: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            libraries.update(name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            libraries.add(node.module.partition(".")[0])
    return {name.lower() for name in libraries}


def test_no_declared_dependency_is_one_that_was_refused() -> None:
    names = declared()
    assert {"typer", "numpy", "pytest", "hatchling"} <= names  # core, extras and build were read
    assert names & REFUSED == set()


REQUIRED = {
    "typer", "rich", "pyyaml", "jinja2", "openai", "anthropic", "vllm", "ragas", "pandas",
    "gitpython", "pytest",
}  # fmt: skip
"""The packages that the project is built with, by its owners' decision."""


def test_every_package_that_the_project_is_built_with_is_declared() -> None:
    assert REQUIRED - declared() == set()


def test_nothing_that_is_read_can_run_code() -> None:
    libraries = {name: imported(tree) & (RUNS_WHAT_IT_READS | REFUSED) for name, tree in modules()}
    assert len(libraries) > 150
    assert {name: bad for name, bad in libraries.items() if bad} == {}


def test_vllm_which_weighs_gigabytes_comes_with_no_extra_but_its_own() -> None:
    extras = {**PROJECT["optional-dependencies"], "": PROJECT["dependencies"]}
    asking = {name for name, lines in extras.items() if any("vllm" in line for line in lines)}
    assert asking == {"vllm"}
