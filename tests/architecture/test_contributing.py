"""The worked changes in CONTRIBUTING.md, applied to a copy of the package, work as described.

A block that starts with a comment with a path is a change of that file: `python` is appended to it
or creates it, `diff` replaces its context. `diff` blocks have no line numbers, so that the context
must be in the file exactly once; `@@` separates hunks.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.pages import ROOT, read

COPIED = ("llmops_cli", "tests", "docs", "pyproject.toml")
PROJECT = ("examples", "llmops.yaml", "prompts", "evalsets", ".llmops")
WARRANTY = "examples/which-half-broke"
_BLOCK = re.compile(
    r"^```(?P<kind>python|diff)\n# (?P<path>\S+/\S+)\n(?P<body>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True, slots=True)
class Change:
    """A block of the page that changes a file."""

    section: str
    kind: str
    path: str
    body: str

    def apply(self, root: Path) -> None:
        file = root / self.path
        if self.kind == "diff":
            text = file.read_text(encoding="utf-8")
            for hunk in self.body.split("@@\n"):
                lines = hunk.splitlines(keepends=True)
                old = "".join(line[1:] for line in lines if line[0] != "+")
                new = "".join(line[1:] for line in lines if line[0] != "-")
                assert text.count(old) == 1, f"{self.path} has {text.count(old)} times:\n{old}"
                text = text.replace(old, new)
            file.write_text(text, encoding="utf-8")
        elif file.exists():
            with file.open("a", encoding="utf-8") as end:
                end.write(f"\n\n{self.body}")
        else:
            file.write_text(self.body, encoding="utf-8")


def worked_changes() -> Iterator[Change]:
    for section in re.split(r"^## ", read("CONTRIBUTING.md"), flags=re.MULTILINE):
        title, _, text = section.partition("\n")
        for match in _BLOCK.finditer(text):
            yield Change(title, match["kind"], match["path"], match["body"])


CHANGES = list(worked_changes())


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with every change of the page."""
    root = tmp_path_factory.mktemp("changed")
    for name in (*COPIED, *PROJECT):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, root / name, ignore=shutil.ignore_patterns("__pycache__", "store")
            )
        else:
            shutil.copy(source, root)
    for change in CHANGES:
        change.apply(root)
    return root


def run(root: Path, *arguments: str, folder: str = ".", code: int = 0) -> str:
    """Run `python -m` in a folder of the copy and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=root / folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("section", sorted({change.section for change in CHANGES}))
def test_a_worked_change_touches_two_source_files_at_most(section: str) -> None:
    files = {change.path for change in CHANGES if change.section == section}
    assert 1 <= len({path for path in files if path.startswith("llmops_cli/")}) <= 2


def test_the_map_of_the_packages_is_the_import_contract() -> None:
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    section = read("CONTRIBUTING.md").partition("## Where things are\n\n```\n")[2]
    lines = section.partition("```")[0].splitlines()
    assert ["__main__", *(line[:48].strip() for line in lines)] == contracts[0]["layers"]


def test_the_map_of_run_names_its_modules() -> None:
    table = read("CONTRIBUTING.md").partition("The modules of `run/`")[2].partition("[Concepts]")[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    modules = {path.stem for path in (ROOT / "llmops_cli" / "run").glob("*.py")}
    assert sorted(named) == sorted(modules - {"__init__"})


@pytest.mark.slow
def test_the_changed_files_pass_the_linter(changed: Path) -> None:
    sources = sorted({change.path for change in CHANGES})
    run(changed, "ruff", "check", *sources)


@pytest.mark.slow
def test_the_scorer_passes_its_test_and_the_contract(changed: Path) -> None:
    tests = ("tests/contracts/test_every_scorer.py", "tests/unit/scorers/test_asks_back.py")
    assert " passed" in run(changed, "pytest", "-q", "-k", "asks_back", *tests)


@pytest.mark.slow
def test_the_provider_passes_the_contract(changed: Path) -> None:
    tests = "tests/contracts/test_every_provider.py"
    assert " passed" in run(changed, "pytest", "-q", "-k", "repeat", tests)


@pytest.mark.slow
def test_the_rule_decides(changed: Path) -> None:
    evalset = changed / WARRANTY / "evalsets" / "warranty.yaml"
    evalset.write_text(evalset.read_text("utf-8") + "gate: {rules: [improved: 2]}\n", "utf-8")

    better = run(changed, "llmops_cli", "compare", "vectors", "words", folder=WARRANTY)
    worse = run(changed, "llmops_cli", "compare", "words", "vectors", folder=WARRANTY, code=1)

    assert "12 cases improved; required: 2" in better
    assert "0 cases improved; required: 2" in worse


@pytest.mark.slow
def test_the_report_format_is_written(changed: Path) -> None:
    run(changed, "llmops_cli", "eval", "qa", "--summary", "summary.txt")

    assert (changed / "summary.txt").read_text("utf-8") == "PASS qa\n"


@pytest.mark.slow
def test_the_option_selects(changed: Path) -> None:
    (plan,) = json.loads(
        run(changed, "llmops_cli", "eval", "intent", "--critical", "--dry-run", "--json")
    )

    assert plan["prompts"][0]["evalsets"][0]["cases"] == 6
