"""What a command imports: no library that the command does not need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import make_project
from tests.servers.faulty import FaultServer

SDKS = {"openai", "anthropic", "aiohttp", "httpx"}
HEAVY = {"pandas", "git", "ragas", "scipy", "statsmodels", "pyarrow"}


RUN = """
import atexit, os, sys

def at_the_end():
    threads = len(os.listdir("/proc/self/task"))
    print(f"threads {threads}", *sys.modules, sep="\\n", file=sys.stderr)

atexit.register(at_the_end)
from llmops_cli.cli.main import main
main()
"""
EMBEDDED = "models: {tiny: {provider: embedded}}\n"


def imported(folder: Path, *arguments: str) -> set[str]:
    """Every module that the program has imported when `arguments` are done, and its threads."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        env={name: item for name, item in os.environ.items() if "THREADS" not in name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stderr.splitlines())


def packages(modules: set[str]) -> set[str]:
    """Their top-level names."""
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["eval", "--help"]])
def test_help_imports_no_library_but_typer(tmp_path: Path, arguments: list[str]) -> None:
    loaded = imported(tmp_path, *arguments)
    heavy = {*SDKS, *HEAVY, "pydantic", "numpy", "yaml", "jinja2", "anyio", "asyncio", "sqlite3"}
    assert packages(loaded) & heavy == set()
    ours = {name for name in loaded if name.startswith("llmops_cli.")}
    assert {name.split(".")[1] for name in ours} <= {"cli", "core"}


def test_an_all_cached_run_imports_no_sdk_and_nothing_heavy_and_starts_no_thread(
    tmp_path: Path,
) -> None:
    with FaultServer() as server:
        project = make_project(tmp_path, server.url)
        project.run("eval")
        loaded = imported(tmp_path, "eval")
        assert server.requests == 20
    assert packages(loaded) & (SDKS | HEAVY) == set()
    assert "threads 1" in loaded


def test_a_run_of_the_embedded_model_imports_no_sdk_and_few_modules_of_ours(
    tmp_path: Path,
) -> None:
    make_project(tmp_path).write("llmops.yaml", EMBEDDED)
    assert packages(imported(tmp_path, "eval")) & (SDKS | HEAVY) == set()
    ours = {name for name in imported(tmp_path, "eval") if name.startswith("llmops_cli")}
    assert len(ours) <= 90, "merge modules by concept, or import them where they are needed"


def test_pandas_is_imported_where_a_table_is_written_and_pyarrow_for_parquet(
    tmp_path: Path,
) -> None:
    make_project(tmp_path).write("llmops.yaml", EMBEDDED)
    imported(tmp_path, "eval", "--junit", "j.xml", "--markdown", "m.md", "--out", "run.jsonl")
    plain = imported(tmp_path, "report", "run.jsonl", "--html", "page.html")
    table = imported(tmp_path, "report", "run.jsonl", "--csv", "run.csv")
    assert packages(plain) & {"pandas", "pyarrow"} == set()
    assert "pandas" in packages(table)
    assert "pyarrow.parquet" not in table


def test_a_run_on_one_vendor_imports_no_other_vendor(tmp_path: Path) -> None:
    with FaultServer() as server:
        make_project(tmp_path, server.url)
        loaded = imported(tmp_path, "eval")
    assert "llmops_cli.providers.openai.model" in loaded
    assert "llmops_cli.providers.anthropic.model" not in loaded
    assert "anthropic" not in packages(loaded)


def test_reading_applications_imports_no_client_and_starts_nothing(
    tmp_path: Path, repo_root: Path
) -> None:
    example = shutil.copytree(repo_root / "examples" / "three-applications", tmp_path / "three")
    for command in ("status", "check"):
        loaded = imported(example, command)
        assert packages(loaded) & (SDKS | HEAVY) == set()
    assert "llmops_cli.judges.index" not in loaded  # nobody judges here
