"""What loading a prompt costs, and what it must not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = frozenset((
    *("anthropic", "anyio", "asyncio", "git", "httpx", "httpx2", "numpy", "openai", "pandas"),
    *("pydantic", "rich", "scipy", "socket", "ssl", "typer", "yaml"),
))  # fmt: skip
OURS, ALL = 40, 140
"""Modules that the import and the first load may add: of this package, and in all."""

CODE = """
import json, sys
started = set(sys.modules)
from llmops_cli import load_prompt
prompt = load_prompt("support@production", source=sys.argv[1])
before = sorted(set(sys.modules) - started)
prompt.render(question="hi")
after = sorted(set(sys.modules) - started)
print(json.dumps([before, after]))
"""


def loaded(source: Path) -> tuple[set[str], set[str]]:
    """Return the modules imported by the first load, and those after the first rendering."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(source)], capture_output=True, text=True, check=True
    )
    before, after = json.loads(done.stdout)
    return set(before), set(after)


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("kind", ["bundle", "registry"])
def test_a_prompt_is_loaded_with_few_modules(root: Path, bundled: Path, kind: str) -> None:
    before, _ = loaded(bundled if kind == "bundle" else root)
    assert len({name for name in before if name.startswith("llmops_cli")}) <= OURS
    assert len(before) <= ALL


@pytest.mark.parametrize("kind", ["bundle", "registry"])
def test_nothing_heavy_is_imported(root: Path, bundled: Path, kind: str) -> None:
    before, after = map(packages, loaded(bundled if kind == "bundle" else root))
    assert before & (HEAVY | {"jinja2"}) == set()
    assert after & HEAVY == set()
    assert "jinja2" in after
