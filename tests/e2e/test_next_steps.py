"""Every `next:` line is a command that works in the state that printed it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import llmops_cli
from tests.git_project import GitProject, make_git_project
from tests.projects import Result, run_on_terminal

STAGED = """\
models:
  tiny: {provider: embedded}
environments: {staging: {}, production: {after: staging}}
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def repo(tmp_path: Path) -> GitProject:
    return make_git_project(tmp_path / "shop", "support")


@pytest.fixture
def staged(repo: GitProject) -> GitProject:
    repo.write("llmops.yaml", STAGED)
    repo.commit("two environments")
    return repo


def steps(result: Result) -> list[list[str]]:
    """The commands of all `next:` lines, without `llmops`."""
    lines = [line for line in result.out.splitlines() if line.startswith("next: ")]
    commands = []
    for line in lines:
        for command in line.removeprefix("next: ").partition("   #")[0].split(" && "):
            program, *words = shlex.split(command)
            assert program == "llmops", line
            commands.append(words)
    assert commands, result.text
    return commands


def follow(repo: GitProject, result: Result) -> Result:
    """Run the commands of all `next:` lines, at a terminal where they ask; the last result."""
    for words in steps(result):
        result = asked(repo, *words) if words[0] == "promote" else repo.run(*words)
    return result


def asked(repo: GitProject, *words: str) -> Result:
    """Run a command at a terminal, and agree."""
    code, shown = run_on_terminal(repo.root, *words, typed=b"y\n")
    return Result(code=code, out=shown, err="", seconds=0)


@pytest.mark.slow
def test_two_environments_are_promoted_to_in_their_order(staged: GitProject) -> None:
    for place in ("staging", "production"):
        evaluated = staged.ok("eval", "support")
        assert steps(evaluated) == [["promote", "support", "--to", place, "--initial", "-m", "why"]]
        assert follow(staged, evaluated).code == 0
        assert staged.runs("support", place) == 1

    staged.say("support", "Answer kindly.")
    for place in ("staging", "production"):
        evaluated = staged.ok("eval", "support")
        assert steps(evaluated) == [["promote", "support", "--to", place, "-m", "why"]]
        assert follow(staged, evaluated).code == 0
        assert staged.runs("support", place) == 2


def test_a_version_is_measured_and_promoted_through_two_environments(staged: GitProject) -> None:
    staged.ok("promote", "support", "--to", "staging", "--initial", "-m", "first", "--yes")
    staged.ok("promote", "support", "--to", "production", "--initial", "-m", "first", "--yes")
    staged.say("support", "Answer kindly.")
    released = staged.ok("release", "support")
    assert steps(released) == [["measure", "support@v2", "--to", "staging"]]
    measured = follow(staged, released)
    assert steps(measured) == [["promote", "support@v2", "--to", "staging", "-m", "why"]]
    assert follow(staged, measured).code == 0
    evaluated = staged.ok("eval", "support@v2")
    expected = ["promote", "support@v2", "--to", "production", "--measure", "-m", "why"]
    assert steps(evaluated) == [expected]
    assert follow(staged, evaluated).code == 0
    assert (staged.runs("support", "staging"), staged.runs("support")) == (2, 2)


def test_a_regression_leads_to_a_closer_look(repo: GitProject) -> None:
    repo.first()
    repo.say("support", broken=30)
    failed = repo.run("eval")
    assert failed.code == 1
    assert steps(failed) == [["eval", "support", "--verbose"]]
    assert follow(repo, failed).code == 1


def test_an_incomplete_run_leads_to_the_rest_of_it(repo: GitProject) -> None:
    incomplete = repo.run("eval", "--max-calls", "5")
    assert incomplete.code == 3
    assert steps(incomplete) == [["eval", "support"]]
    assert follow(repo, incomplete).code == 0


def test_an_incomplete_measurement_leads_to_the_rest_of_it(repo: GitProject) -> None:
    repo.ok("release", "support")
    incomplete = repo.run("measure", "support@v1", "--max-calls", "5")
    assert incomplete.code == 3
    assert steps(incomplete) == [["measure", "support@v1", "--to", "production"]]
    assert follow(repo, incomplete).code == 0


def test_an_inconclusive_run_leads_to_what_the_cases_can_show_and_can_be_accepted(
    repo: GitProject,
) -> None:
    repo.first()
    repo.say("support", "Answer kindly.", broken=1)
    inconclusive = repo.ok("eval")
    assert steps(inconclusive) == [["eval", "support", "--dry-run"]]
    assert "can show a margin" in follow(repo, inconclusive).text
    refused = repo.run("promote", "support", "-m", "kinder", "--yes")
    assert refused.code == 4
    (words,) = steps(refused)
    assert words[-3:] == ["--accept-inconclusive", "-m", "WHY"]
    assert follow(repo, refused).code == 0
    assert repo.runs("support") == 2


def test_an_environment_that_accepts_only_pass_leads_to_what_the_cases_can_show(
    repo: GitProject,
) -> None:
    repo.first()
    accept = "environments: {production: {accept: pass}}\n"
    repo.write("llmops.yaml", f"models:\n  tiny: {{provider: embedded}}\n{accept}")
    repo.say("support", "Answer kindly.", broken=1)
    refused = repo.run("promote", "support", "-m", "kinder", "--yes")
    assert refused.code == 4
    assert follow(repo, refused).code == 0


def test_missing_evidence_leads_to_it(repo: GitProject) -> None:
    repo.first()
    repo.say("support", "Answer kindly.")
    repo.ok("release", "support")
    missing = repo.run("promote", "support@v2", "-m", "kinder")
    assert missing.code == 3
    assert follow(repo, missing).code == 0
    repo.ok("promote", "support@v2", "-m", "kinder")


def test_a_bundle_leads_to_the_variable_that_names_it(repo: GitProject) -> None:
    repo.first()
    bundled = repo.ok("bundle", "production", "--out", str(repo.root / "what runs.json"))
    (line,) = (line for line in bundled.out.splitlines() if line.startswith("next: "))
    path = str(repo.root / "what runs.json")
    assert shlex.split(line) == ["next:", "export", f"LLMOPS_BUNDLE={path}"]


def test_a_new_project_leads_to_its_first_run(tmp_path: Path) -> None:
    new = GitProject(tmp_path / "new")
    new.root.mkdir()
    first = follow(new, new.ok("init"))
    assert first.code == 0
    assert follow(new, first).code == 0


def test_an_import_leads_to_a_check_and_a_comparison(tmp_path: Path) -> None:
    config = {
        "prompts": ["Say {{word}}", "Please say {{word}}"],
        "providers": ["openai:gpt-4.1-mini"],
        "tests": [{"vars": {"word": "a"}, "assert": [{"type": "contains", "value": "a"}]}],
    }
    repo = GitProject(tmp_path)
    repo.write("promptfooconfig.yaml", json.dumps(config))
    folder = str(tmp_path / "a new project")
    check, compare = steps(repo.ok("import", "promptfooconfig.yaml", "--into", folder))
    assert check == ["-C", folder, "check"]
    assert compare[:3] == ["-C", folder, "compare"]
    assert repo.run(*check).code == 0
    assert repo.run(*compare, "--dry-run").code == 0  # the model itself needs a key


def test_no_next_line_is_prose() -> None:
    package = Path(llmops_cli.__file__).parent
    sources = [path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))]
    written = [
        text for source in sources for text in re.findall(r"\"next: (\S*)", source) if text != '",'
    ]
    allowed = {"llmops", "{llmops}", "export", '{promotion.hint}"', '{step}")'}
    assert set(written) <= allowed, written
