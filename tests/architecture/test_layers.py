"""The architecture's layers and conventions, checked from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llmops_cli"


@cache
def modules() -> list[tuple[str, ast.Module]]:
    """Return every module of the package with its path in it."""
    return [
        (str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def test_every_import_contract_is_kept() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_prints_or_exits_outside_the_command_line() -> None:
    places = [
        f"{name}:{node.lineno}"
        for name, tree in modules()
        if not name.startswith("cli/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"print", "sys.exit", "exit", "quit", "os._exit"}
        and name != "workers/child.py"  # a process of its own, which speaks over its pipe
    ]
    assert places == []


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether it catches everything and does not raise it again."""
    caught = [] if handler.type is None else ast.walk(handler.type)
    names = {node.id for node in caught if isinstance(node, ast.Name)}
    broad = handler.type is None or bool(names & {"Exception", "BaseException"})
    return broad and not isinstance(handler.body[-1], ast.Raise)


def test_only_the_command_line_and_the_scorers_catch_everything() -> None:
    places = {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and is_broad(node)
    }
    # around a scorer twice: in this process, and in the one that runs the project's own code
    assert places == {"cli/main.py", "scorers/scoring.py", "workers/child.py"}


LATE_IMPORTS = {
    "commands/check.py": "llmops_cli.judges.index",
    "commands/evaluate.py": "llmops_cli.run.shards",
    "core/redact.py": "html.entities",
    "engine/budget.py": "genai_prices",
    "plugins/catalog.py": "importlib.metadata",
    "project/project.py": "llmops_cli.project.watch",
    "project/prompts.py": "jsonschema",
    "project/tables.py": "pyarrow",
    "providers/http/responses.py": "email.utils",
    "providers/openai/model.py": "openai",
    "run/run_loop.py": "llmops_cli.run.execute",
    "runtime.py": "llmops_cli.project.templates",
    "scorers/rag.py": "llmops_cli.scorers",
    "stores/git.py": "git",
    "watch/spans.py": "llmops_cli.watch.protobuf",
}
"""Imports inside functions, by module: what most commands do not need, and that costs time."""


def test_functions_import_only_what_is_slow_and_rarely_needed() -> None:
    late = {
        (name, inner.module if isinstance(inner, ast.ImportFrom) else inner.names[0].name)
        for name, tree in modules()
        if not name.startswith("cli/")
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
        if isinstance(inner, (ast.Import, ast.ImportFrom))
    }
    assert late == set(LATE_IMPORTS.items())


def test_every_module_opens_with_a_sentence_that_says_what_it_is() -> None:
    silent = [
        name
        for name, tree in modules()
        if tree.body
        and not (ast.get_docstring(tree) or "").split("\n\n")[0].endswith((".", ":", "?"))
    ]
    assert silent == []


def test_no_module_and_no_function_outgrows_a_reader() -> None:
    long_modules = {
        name: lines
        for name in (name for name, _ in modules())
        if (lines := len((PACKAGE / name).read_text(encoding="utf-8").splitlines())) > 600
    }
    long_functions = {
        f"{name}:{node.name}": lines
        for name, tree in modules()
        if not name.startswith("cli/")  # a command's signature is its list of options
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > 60
    }
    assert (long_modules, long_functions) == ({}, {})
