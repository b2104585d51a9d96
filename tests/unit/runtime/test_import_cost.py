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
LIMIT = 0.1
"""Seconds of CPU for the import and the first load, the start of Python left out."""

CODE = """
import json, sys, time
began = time.process_time()
from llmops_cli import load_prompt
prompt = load_prompt("support@production", source=sys.argv[1])
loaded = time.process_time() - began
before = sorted({name.partition(".")[0] for name in sys.modules})
prompt.render(question="hi")
after = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([loaded, before, after]))
"""


def loaded(source: Path) -> tuple[float, set[str], set[str]]:
    """CPU seconds to import and load, modules then, modules after the first rendering."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(source)], capture_output=True, text=True, check=True
    )
    seconds, before, after = json.loads(done.stdout)
    return seconds, set(before), set(after)


@pytest.mark.parametrize("kind", ["bundle", "registry"])
def test_a_prompt_is_there_within_100_ms_of_cpu(root: Path, bundled: Path, kind: str) -> None:
    source = bundled if kind == "bundle" else root
    assert min(loaded(source)[0] for _ in range(5)) < LIMIT


@pytest.mark.parametrize("kind", ["bundle", "registry"])
def test_nothing_heavy_is_imported(root: Path, bundled: Path, kind: str) -> None:
    _, before, after = loaded(bundled if kind == "bundle" else root)
    assert before & (HEAVY | {"jinja2"}) == set()
    assert after & HEAVY == set()
    assert "jinja2" in after
