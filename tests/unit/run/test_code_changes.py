"""A change of trusted code is a finding, wherever the code is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import Decision
from tests.projects import Project, make_cases
from tests.unit.gated_project import Result, gate
from tests.unit.run.test_workspace import committed
from tests.unit.stores.test_git import git

SCORER = """\
from helper import threshold

def mine(text, case):
    return len(text) >= threshold()
"""


@pytest.fixture
def coded(running: Project) -> Project:
    """A project whose scorer imports a module beside it."""
    running.write("checks/mine.py", SCORER)
    running.write("checks/helper.py", "def threshold():\n    return 3\n")
    running.write("checks/unused.py", "")
    running.write("tools/other.py", "")
    running.settings["trust"] = ["checks/**", "node dist/bot.js"]
    running.llmops_yaml()
    running.evalset(scorers=[{"python": "checks/mine.py:mine"}])
    return committed(running)


def code_finding(project: Project) -> str:
    """Return what the finding says about the code; empty: there is none."""
    findings = gate(project, base="main").verdict.findings
    return "".join(finding.why for finding in findings if finding.rule == "code")


def test_a_changed_module_of_a_trusted_scorer_is_a_finding(coded: Project) -> None:
    assert code_finding(coded) == ""
    coded.write("checks/helper.py", "def threshold():\n    return 0\n")
    assert code_finding(coded) == (
        "this change also changes code that is trusted at main: checks/helper.py (changed). "
        "Scorers run as they are at main, until it is merged"
    )


def test_added_and_removed_files_are_named_and_files_without_trust_are_not(coded: Project) -> None:
    (coded.root / "checks/unused.py").unlink()
    coded.write("checks/.hidden/more.py", "")
    coded.write("checks/data.json", "{}")
    coded.write("dist/bot.js", "")
    coded.write("tools/other.py", "changed = True\n")
    assert (
        "checks/.hidden/more.py (added), checks/data.json (added), checks/unused.py (removed), "
        "dist/bot.js (added). Scorers run as"
    ) in code_finding(coded)


def test_a_change_that_git_does_not_show_is_found_by_its_bytes(coded: Project) -> None:
    git(coded.root, "update-index", "--assume-unchanged", "checks/helper.py")
    coded.write("checks/helper.py", "def threshold():\n    return 0\n")
    assert git(coded.root, "status", "--porcelain", "checks") == ""
    assert "checks/helper.py (changed)" in code_finding(coded)


def test_a_link_to_the_same_file_is_no_change_and_to_another_one_is(coded: Project) -> None:
    helper = coded.root / "checks/helper.py"
    coded.write("checks/third.py", helper.read_text())
    (coded.root / "checks/fourth.py").symlink_to("third.py")
    committed(coded)
    assert code_finding(coded) == ""
    (coded.root / "checks/fourth.py").unlink()
    (coded.root / "checks/fourth.py").symlink_to("unused.py")
    assert "checks/fourth.py (changed)" in code_finding(coded)


def test_where_no_code_runs_changed_code_is_not_mentioned(coded: Project) -> None:
    coded.evalset()
    coded.write("checks/helper.py", "def threshold():\n    return 0\n")
    assert code_finding(coded) == ""


def test_a_module_that_is_not_trusted_leaves_the_answers_unscored(coded: Project) -> None:
    coded.settings["trust"] = ["checks/mine.py"]
    coded.llmops_yaml()
    committed(coded)
    coded.prompt(system="Next.")
    result: Result = gate(coded, base="main")
    assert result.decision is Decision.INCOMPLETE
    assert "checks/helper.py is code of the project, and `trust` in llmops.yaml does not name" in (
        str(result.report)
    )


def test_code_under_the_name_of_a_trusted_application_needs_trust_of_its_own(
    project: Project,
) -> None:
    def bot(call: str) -> None:
        project.models = {"bot": {"provider": "python", "call": call}}
        project.llmops_yaml()

    answer = "def answer(inputs):\n    return inputs['question']\n"
    project.write("app/bot.py", answer)
    project.settings |= {"trust": ["app/*.py"]}
    bot("app/bot.py:answer")
    project.prompt(model="bot")
    committed(project)
    assert gate(project, base="main").decision is Decision.PASS
    project.write("other/bot.py", answer)
    bot("other/bot.py:answer")
    with pytest.raises(Refused, match=r"the model 'bot' may not run: other/bot\.py"):
        gate(project, base="main")


def test_a_scorer_that_a_change_edits_does_not_score_the_change(coded: Project) -> None:
    coded.write("checks/mine.py", "def mine(text, case):\n    return False\n")
    committed(coded)
    coded.write("checks/mine.py", "def mine(text, case):\n    return True\n")
    assert gate(coded, base="main").passing.candidate == 0
    assert gate(coded).passing.candidate == 1  # without a base, what is here runs


def test_the_data_that_a_scorer_reads_is_that_of_the_base_with_its_code(coded: Project) -> None:
    reads = "from pathlib import Path\n\ndef mine(text, case):\n"
    coded.write("checks/mine.py", reads + "    return float(Path('data/value.txt').read_text())\n")
    coded.write("data/value.txt", "0")
    committed(coded)
    coded.write("data/value.txt", "1")
    coded.write("checks/mine.py", reads + "    return 1\n")
    assert gate(coded, base="main").passing.candidate == 0


@pytest.mark.parametrize("how", ["edited", "converted by .gitattributes"])
def test_data_that_a_scorer_reads_undeclared_is_that_of_the_base(coded: Project, how: str) -> None:
    """No trusted file differs: only the data does, or how git would write it."""
    coded.write(
        "checks/mine.py",
        "from pathlib import Path\n\n"
        "def mine(text, case):\n"
        "    return float(Path('data/value.txt').read_bytes() != b'bad\\n')\n",
    )
    coded.write("data/value.txt", "bad\n")
    committed(coded)
    if how == "edited":
        coded.write("data/value.txt", "good\n")
    else:
        coded.write(".gitattributes", "*.txt text eol=crlf\n")
    assert gate(coded, base="main").passing.candidate == 0


def test_a_scorer_that_a_change_adds_is_merged_first(coded: Project) -> None:
    coded.write("checks/new.py", "def mine(text, case):\n    return True\n")
    coded.evalset(scorers=[{"python": "checks/new.py:mine"}])
    with pytest.raises(Refused, match=r"checks/new\.py is not at main, and code"):
        gate(coded, base="main")


def test_scorers_of_a_project_in_a_folder_of_its_repository_run_at_the_base(
    coded: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp("repository")
    project = replace(coded, root=coded.root.rename(top / "llm"))
    shutil.rmtree(project.root / ".git")
    git(top, "init", "-q", "-b", "main")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "all")
    project.write("checks/helper.py", "def threshold():\n    return 10**6\n")
    assert gate(project, base="main").passing.candidate == 1.0


@pytest.mark.parametrize("identity", [None, {"files": ["app/bot.py"]}])
def test_code_of_an_application_that_its_identity_does_not_name_is_refused_if_it_changes(
    project: Project, identity: object
) -> None:
    """Its requests would be those of the baseline, and the change would be compared with itself."""
    project.write(
        "app/bot.py",
        "from helper import reply\n\ndef answer(inputs):\n    return reply(inputs['question'])\n",
    )
    project.write("app/helper.py", "def reply(text):\n    return text\n")
    project.models = {"bot": {"provider": "python", "call": "app/bot.py:answer"}}
    if identity:
        project.models["bot"]["identity"] = identity
    project.settings["trust"] = ["app/**", "checks/**"]
    project.llmops_yaml()
    inputs = "inputs:\n  question: {type: string}\n"
    project.write("prompts/support.prompt.yml", f"model: bot\n{inputs}")
    project.write("checks/mine.py", "def mine(text, case):\n    return bool(text)\n")
    project.evalset(scorers=[{"exact": "{{ expected }}"}, {"python": "checks/mine.py:mine"}])
    committed(project)
    project.write("checks/helper.py", "")
    assert gate(project, base="main").decision is Decision.PASS
    project.write("app/helper.py", "def reply(text):\n    return 'no idea'\n")
    with pytest.raises(Refused, match=r"this change edits app/helper\.py \(changed\)"):
        gate(project, base="main")


def test_other_recorded_answers_make_the_evalset_of_the_base_decide(tmp_path: Path) -> None:
    project = Project(root=tmp_path)
    models = {"tiny": {"provider": "replay", "file": "said.jsonl"}}
    project.write("llmops.yaml", json.dumps({"models": models, "gate": {"margin": 0.1}}))
    project.prompt()
    project.cases(make_cases(30))
    project.evalset()
    rows = [{"id": case["id"], "text": case["expected"]} for case in make_cases(30)]
    project.write("said.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    committed(project)
    worse = [{**row, "text": "no idea"} for row in rows]
    project.write("said.jsonl", "".join(json.dumps(row) + "\n" for row in worse))
    project.cases([{**case, "expected": "no idea"} for case in make_cases(30)])
    assert gate(project, base="main").decision is Decision.FAIL
