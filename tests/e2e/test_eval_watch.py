"""`eval --watch` runs again when a prompt, an evalset or a scorer changes."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Self

import pytest

from tests.projects import Process, Project, make_cases, make_project, wait_until
from tests.servers.faulty import Server

CASES = 10
IDLE = "watching for changes; Ctrl-C ends it"
KIND = "def score(text, case):\n    return {value}\n"


class Watched:
    """A running `eval --watch` and what it has printed."""

    def __init__(self, project: Project, folder: Path, *arguments: str) -> None:
        self.printed = folder / "printed.txt"
        with self.printed.open("w") as out:
            self.process: Process = project.start(
                "eval", "--watch", *arguments, stdout=out.fileno()
            )
        self.runs = 0

    def next_run(self) -> str:
        """Return what the next run prints."""
        self.runs += 1
        wait_until(lambda: self.printed.read_text().count(IDLE) >= self.runs or self._ended())
        return self.printed.read_text().split(IDLE)[self.runs - 1]

    def _ended(self) -> bool:
        assert self.process.running, self.process.wait().text
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.running:
            self.process.send(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> str:
        """Press Ctrl-C; return what it printed on standard error."""
        self.process.send(signal.SIGINT)
        result = self.process.wait()
        assert result.code == 130
        return result.err


@pytest.fixture
def project(tmp_path: Path, server: Server) -> Project:
    return make_project(tmp_path / "project", server.url, cases=CASES)


def test_a_change_of_prompt_evalset_or_scorer_runs_again(
    project: Project, server: Server, tmp_path: Path
) -> None:
    project.settings["trust"] = ["scorers/kind.py"]
    project.llmops_yaml()
    project.write("scorers/kind.py", KIND.format(value=1.0))
    project.evalset(
        scorers=[
            {"exact": "{{ expected }}"},
            {"python": {"call": "scorers/kind.py:score", "identity": ["scorers/kind.py"]}},
        ]
    )
    with Watched(project, tmp_path) as watched:
        assert "100.0%" in watched.next_run()
        assert server.requests == CASES
        project.prompt(system="Answer well.")
        second = watched.next_run()
        assert "changed: prompts/support.prompt.yml" in second
        assert server.requests == 2 * CASES
        project.cases(make_cases(CASES + 1))
        assert f"({CASES + 1} of {CASES + 1})" in watched.next_run()
        assert server.requests == 2 * CASES + 1  # what is cached is not called again
        project.write("scorers/kind.py", KIND.format(value=0.0))
        assert "0.0% (0 of" in watched.next_run()
        assert server.requests == 2 * CASES + 1
        watched.stop()


def test_a_mistake_is_shown_with_its_line_and_the_watch_goes_on(
    project: Project, tmp_path: Path
) -> None:
    with Watched(project, tmp_path) as watched:
        watched.next_run()
        before = project.read("prompts/support.prompt.yml")
        project.write("prompts/support.prompt.yml", before + "modell: tiny\n")
        watched.next_run()
        project.write("prompts/support.prompt.yml", before)
        assert "100.0%" in watched.next_run()
        errors = watched.stop()
        assert "prompts/support.prompt.yml:" in errors
        assert "modell" in errors


def test_reports_and_other_files_start_no_run(project: Project, tmp_path: Path) -> None:
    schema = project.write("schemas/reply.json", json.dumps({"type": "string"}))
    project.evalset(scorers=[{"exact": "{{ expected }}"}])
    with Watched(project, tmp_path, "--html", "page.html") as watched:
        watched.next_run()
        project.write("notes.txt", "nothing")
        schema.write_text("{}")  # no scorer names it
        project.write(".venv/lib/module.py", "")
        project.prompt(system="Answer well.")
        assert "changed: prompts/support.prompt.yml\n" in watched.next_run()
        assert (project.root / "page.html").is_file()
        watched.stop()
        assert watched.printed.read_text().count("changed: ") == 1


def test_a_schema_that_a_scorer_names_runs_again(project: Project, tmp_path: Path) -> None:
    project.write("schemas/reply.json", json.dumps({"type": "string"}))
    project.evalset(scorers=[{"json_schema": {"schema": "schemas/reply.json"}}])
    with Watched(project, tmp_path) as watched:
        watched.next_run()
        project.write("schemas/reply.json", json.dumps({"type": "object"}))
        assert "changed: schemas/reply.json" in watched.next_run()
        watched.stop()


def test_the_budget_holds_for_all_runs_together(
    project: Project, server: Server, tmp_path: Path
) -> None:
    with Watched(project, tmp_path, "--max-calls", str(CASES + 3)) as watched:
        watched.next_run()
        project.prompt(system="Answer well.")
        assert "INCOMPLETE" in watched.next_run()
        watched.stop()
        assert server.requests == CASES + 3


@pytest.mark.parametrize("flag", ["--json", "--no-cache", "--github"])
def test_what_does_not_go_with_watching_is_refused(project: Project, flag: str) -> None:
    result = project.run("eval", "--watch", flag)
    assert (result.code, flag in result.err) == (2, True)
