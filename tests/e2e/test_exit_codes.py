"""Every exit code of the program; only a verdict answers 1."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.projects import (
    LLMOPS,
    Process,
    Project,
    Result,
    make_cases,
    make_project,
    run_on_terminal,
    without_rights,
)
from tests.servers.faulty import FaultServer, answer

FLOOR = {"rules": [{"floor": {"min": 0.9}}]}
TWENTY = "\n".join(f"say {at}" for at in range(20))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A prompt on 20 cases; the embedded model answers, with no server."""
    built = Project(root=tmp_path / "project", models={"tiny": {"provider": "embedded"}})
    built.write("llmops.yaml", json.dumps({"models": built.models}))
    built.prompt(system=TWENTY)
    built.cases(make_cases(20))
    built.evalset()
    return built


def failing(project: Project) -> None:
    """Everything fails the floor."""
    project.evalset(scorers=[FAILING], gate=FLOOR)


# Done, and what you can fix -------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["eval", "--help"], ["--version"]])
def test_help_is_0(project: Project, arguments: list[str]) -> None:
    result = project.run(*arguments)
    assert (result.code, result.err) == (0, "")
    assert result.out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nope"],
        ["eval", "--nope"],
        ["eval", "--sample", "none"],
        ["eval", "--env", "stagin"],
        ["eval", "--model", "nobody"],
        ["eval", "--baseline", "nobody@v1"],
        ["eval", "--base", "HEAD"],
        ["eval", "--require-baseline"],
        ["eval", "--max-cost", "nan"],
        ["eval", "--max-seconds", "nan"],
        ["measure"],
        ["measure", "support"],
        ["measure", "support@v9"],
        ["promote", "support@v1", "--initial", "-m", "why"],
        ["-C", "/nowhere/at/all", "eval"],
        ["-C", "x" * 300, "eval"],
    ],
)
def test_usage_and_unknown_names_are_2(project: Project, arguments: list[str]) -> None:
    result = project.run(*arguments)
    assert result.code == 2, result.text
    assert "Traceback" not in result.err


def test_no_project_is_2(tmp_path: Path) -> None:
    result = Project(root=tmp_path).run("eval")
    assert result.code == 2
    assert "llmops init" in result.text


def test_a_key_that_is_not_set_is_2_and_named(tmp_path: Path) -> None:
    with FaultServer() as server:
        result = make_project(tmp_path, server.url, api_key_env="TEAM_KEY").run("eval")
        assert server.requests == 0
    assert result.code == 2, result.text
    assert "TEAM_KEY is not set" in result.text


def test_a_file_that_cannot_be_read_is_2(project: Project) -> None:
    (project.root / "llmops.yaml").chmod(0)
    result = project.run_alone("eval", before=without_rights)
    assert result.code == 2
    assert "llmops.yaml" in result.text


def test_a_plug_in_that_cannot_be_imported_is_2_and_named(project: Project) -> None:
    path = plug_in(project, "raise RuntimeError('half installed')")
    result = project.run("eval", env=path)
    assert result.code == 2
    assert "'broken'" in result.text
    assert "half installed" in result.text


# Verdicts ------------------------------------------------------------------------------------

PASSING, FAILING, EXACT = {"not": {"contains": "never"}}, {"contains": "never"}, "exact"


@pytest.mark.parametrize(
    ("scorer", "gate", "arguments", "code", "decision"),
    [
        (PASSING, FLOOR, [], 0, "PASS"),
        (FAILING, FLOOR, [], 1, "FAIL"),
        (EXACT, {}, [], 0, "INCONCLUSIVE"),  # the policy warns
        (EXACT, {"on_inconclusive": "fail"}, [], 4, "INCONCLUSIVE"),
        (EXACT, {}, ["--strict"], 4, "INCONCLUSIVE"),
        (PASSING, FLOOR, ["--max-calls", "5"], 3, "INCOMPLETE"),
    ],
)
def test_a_verdict_has_its_exit_code_in_every_report(
    project: Project, scorer: Any, gate: dict[str, Any], arguments: list[str], code: int,
    decision: str,
) -> None:  # fmt: skip
    project.evalset(scorers=[scorer], gate=gate)
    junit = project.root / "junit.xml"
    result = project.eval(*arguments, "--junit", str(junit))
    assert (result.code, result.decision) == (code, decision)
    assert (result.report["exit_code"], project.run("report").code) == (code, code)
    assert ("<error" in junit.read_text()) is (code in {3, 4})
    if arguments[:1] == ["--max-calls"]:
        assert result.report["calls"] == 5
        assert "the budget is used up: --max-calls 5" in project.run("report").text
    assert code != 4 or "Not blocked" not in project.run("report").out


# Disk ----------------------------------------------------------------------------------------


def run_on_a_full_disk(project: Project, kilobytes: int) -> Result:
    """Run `eval` where no file may become larger: what a full disk looks like to a process."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))

    # Python does not notice where it writes a module's bytecode in part.
    return project.run_alone("eval", before=limit, env={"PYTHONDONTWRITEBYTECODE": "1"})


@pytest.mark.parametrize("kilobytes", [0, 8, 48])
def test_a_full_disk_is_3_and_the_next_run_is_right(project: Project, kilobytes: int) -> None:
    failing(project)
    result = run_on_a_full_disk(project, kilobytes)
    assert result.code == 3, result.text
    assert ".llmops/store" in result.text
    again = project.eval()
    assert (again.code, again.evalset["candidate"]["measured"]) == (1, 20)


def test_a_disk_that_fills_is_named_first_with_what_was_called(project: Project) -> None:
    project.evalset(scorers=[PASSING], gate=FLOOR)
    assert project.run("eval").code == 0
    project.prompt(system="Others.\n" + TWENTY)
    result = run_on_a_full_disk(project, 48)
    counts = re.search(
        r"INCOMPLETE: .*store.*: (\d+) calls? made, (\d+) not attempted", result.text
    )
    assert counts, result.text
    assert sum(map(int, counts.groups())) == 20


def test_a_disk_that_fills_keeps_what_was_stored_before(project: Project) -> None:
    project.evalset(scorers=[PASSING], gate=FLOOR)
    assert project.run("eval").code == 0
    project.prompt(system="Others.\n" + TWENTY)
    result = run_on_a_full_disk(project, 16)
    assert result.code == 3, result.text
    project.prompt(system=TWENTY)
    assert project.eval().report["calls"] == 0


@pytest.mark.parametrize("option", ["--junit", "--markdown", "--out"])
def test_a_report_on_a_full_device_is_3_and_leaves_the_device_alone(
    project: Project, option: str
) -> None:
    result = project.run("eval", option, "/dev/full")
    assert result.code == 3, result.text
    assert "/dev/full" in result.text
    assert Path("/dev/full").is_char_device()


def test_a_full_standard_output_is_3(project: Project) -> None:
    with Path("/dev/full").open("w") as full:
        result = project.run_alone("eval", stdout=full.fileno())
    assert result.code == 3


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [("eval", 1, "cannot be written"), ("release", 3, "Permission denied")],
)
def test_in_a_read_only_folder_there_is_a_verdict_and_no_release(
    project: Project, command: str, code: int, words: str
) -> None:
    failing(project)
    project.root.chmod(0o555)
    result = project.run_alone(command, before=without_rights)
    project.root.chmod(0o755)
    assert (result.code, words in result.text) == (code, True), result.text
    assert not (project.root / ".llmops").exists()


# 70: a bug -----------------------------------------------------------------------------------


PROVIDER = """\
from llmops_cli.core.ports import ProviderKind

broken = ProviderKind(name="broken", target="plugged:opened", summary="Breaks.", offline=True)

def opened(model, context):
    raise ZeroDivisionError("the plug-in divides by zero, " + context.environ["TEAM_API_KEY"])
"""


def plug_in(project: Project, code: str) -> dict[str, str]:
    """An installed distribution that brings the provider `broken`; the environment to find it."""
    site = project.root.parent / "site"
    info = site / "plugged-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[llmops.providers]\nbroken = plugged:broken\n")
    (site / "plugged.py").write_text(code)
    known = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {
        "PYTHONPATH": os.pathsep.join([str(site), *known]),
        "TEAM_API_KEY": "canary-1234567890",
    }


def crashed(project: Project, **environment: str) -> Result:
    env = plug_in(project, PROVIDER)
    project.write("llmops.yaml", json.dumps({"models": {"tiny": {"provider": "broken"}}}))
    return project.run("eval", env={**env, **environment})


def test_an_uncaught_exception_is_70_with_a_log_to_paste_and_no_key_in_it(
    project: Project,
) -> None:
    result = crashed(project)
    assert result.code == 70
    assert result.out == ""
    assert "Traceback" not in result.err
    assert "canary" not in result.err
    log = Path(result.err.rsplit(": ", 1)[1].strip())
    text = log.read_text(encoding="utf-8")
    assert "ZeroDivisionError: the plug-in divides by zero" in text
    assert "canary" not in text


def test_a_bug_without_a_place_for_its_log_is_70(project: Project) -> None:
    result = crashed(
        project, HOME="/dev/null", XDG_STATE_HOME="/dev/null", XDG_CACHE_HOME="/dev/null"
    )
    assert result.code == 70
    assert "no log could be written" in result.text


# 130 and 141: interrupted, nobody reads ------------------------------------------------------


@pytest.mark.parametrize(
    "importing",
    [
        "llmops_cli.core.errors",
        "llmops_cli.cli.evaluate",
        "pydantic",
        "numpy",
        "llmops_cli.engine.call",
    ],
)
def test_an_interrupt_at_any_moment_of_the_start_is_130(tmp_path: Path, importing: str) -> None:
    with FaultServer(then=answer(delay=0.2)) as server:
        project = make_project(tmp_path, server.url, max_concurrency=2)
        process = subprocess.Popen(
            [*LLMOPS, "eval"],
            cwd=project.root,
            env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.rstrip().endswith(f" {importing}"):
                process.send_signal(signal.SIGINT)
                break
        else:
            message = f"{importing} was never imported"
            raise AssertionError(message)
        process.communicate(timeout=30)
    # until the program's own code runs, Python answers, by the signal itself
    assert process.returncode in {130, -signal.SIGINT}


@pytest.mark.parametrize("arguments", [["eval"], ["eval", "--json"], ["--help"]])
def test_a_closed_pipe_is_141_and_quiet(project: Project, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    process = project.start(*arguments, stdout=writing)
    os.close(writing)
    os.close(reading)
    result = process.wait()
    assert (result.code, result.err) == (141, "")


def test_head_reads_one_line_and_nothing_complains(project: Project) -> None:
    command = f"{' '.join(LLMOPS)} eval --verbose | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=project.root, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 141}
    assert done.stdout.startswith("NO BASELINE")
    assert done.stderr == ""


# Odd surroundings: the verdict is the same ---------------------------------------------------


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"COLUMNS": "1"},
        {"COLUMNS": "10"},
        {"COLUMNS": "999999999999"},
        {"GITHUB_EVENT_PATH": "/dev/zero", "GITHUB_EVENT_NAME": "pull_request"},
        {"COLUMNS": "0"},
        {"COLUMNS": "-3"},
        {"COLUMNS": "wide"},
        {"COLUMNS": ""},
        {"TERM": "dumb"},
        {"HOME": "/nowhere/at/all"},
        {"TZ": "Pacific/Kiritimati"},
    ],
)
def test_an_odd_environment_changes_no_verdict(
    project: Project, environment: dict[str, str]
) -> None:
    failing(project)
    result = project.run("eval", env=environment)
    assert result.code == 1, result.text
    assert result.out.startswith("FAIL")
    assert result.err == ""


def test_a_folder_that_was_deleted_meanwhile_is_2_and_not_a_bug(project: Project) -> None:
    gone = project.root / "gone"
    gone.mkdir()
    result = Process([*LLMOPS, "status"], gone, dict(os.environ), before=gone.rmdir).wait()
    assert result.code == 2, result.text
    assert "the current folder does not exist any more" in result.err


def test_an_empty_environment_changes_no_verdict(project: Project) -> None:
    failing(project)
    only = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    result = Process([*LLMOPS, "eval"], project.root, only).wait()
    assert result.code == 1, result.text
    assert result.out.startswith("FAIL")


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_a_closed_stream_changes_no_verdict(project: Project, stream: int) -> None:
    failing(project)
    result = project.run_alone("eval", before=lambda: os.close(stream))
    assert result.code == 1, result.text


def test_a_terminal_changes_no_verdict(project: Project) -> None:
    failing(project)
    code, shown = run_on_terminal(project.root, "eval")
    assert (code, "FAIL" in shown) == (1, True)


def test_the_program_runs_as_a_script_too(project: Project) -> None:
    script = Path(sys.executable).with_name("llmops")
    result = Process([str(script), "--version"], project.root, os.environ).wait()
    assert (result.code, result.err) == (0, "")
