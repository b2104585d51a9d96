"""Applications as targets: what they are handed, what names them, and whose answers count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.commands.check import check_all
from llmops_cli.commands.diff import difference
from llmops_cli.commands.render import rendered_request
from llmops_cli.core.errors import InvalidFiles, Refused
from llmops_cli.core.policy import Decision
from llmops_cli.run.selection import resolve_target
from llmops_cli.run.workspace import open_workspace
from tests.git_project import git
from tests.projects import Project, make_cases
from tests.servers.faulty import FaultServer
from tests.unit.gated_project import CASES, MARGIN, Result, gate, measured, promoted, release
from tests.unit.run.test_checks import github

APPLICATION = """\
from pathlib import Path
from app.answers import said

def answer(inputs, messages):
    with Path("calls").open("a") as file:
        file.write("x")
    return said(inputs["question"])
"""
ECHO = "def said(question): return question\n"
WORSE = "def said(question): return 'no idea' if question < 'say 2' else question\n"
SAME = "def said(question): return str(question)\n"
PYTHON: dict[str, Any] = {
    "provider": "python",
    "call": "app/main.py:answer",
    "identity": {"files": ["app/*.py"]},
}
HTTP: dict[str, Any] = {"provider": "http", "base_url": "http://localhost:1"}


class Application(Project):
    """A project whose prompt is answered by an application."""

    def configured(self, **model: Any) -> None:
        models = {"app": model}
        settings = {"gate": {"margin": MARGIN, "baseline_repeats": 1}, "trust": ["app/*.py"]}
        settings.update(self.settings)
        self.write("llmops.yaml", json.dumps({"models": models, **settings}))

    @property
    def calls(self) -> int:
        path = self.root / "calls"
        return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def project(tmp_path: Path) -> Application:
    project = Application(root=tmp_path)
    project.write("app/main.py", APPLICATION)
    project.write("app/answers.py", ECHO)
    project.configured(**PYTHON)
    project.write("prompts/support.prompt.yml", "model: app\ninputs: {question: {type: string}}\n")
    project.cases(make_cases(CASES))
    project.evalset()
    return project


def unmeasured(result: Result) -> list[str]:
    """Why the baseline of a shown case was not measured."""
    sides = [each.baseline for each in result.evalset.shown]
    trials = (trial for side in sides if side for trial in side.trials)
    return [trial.failure for trial in trials if trial.failure is not None]


def problems(project: Project) -> list[str]:
    with pytest.raises(InvalidFiles) as caught:
        check_all(project.root)
    return [str(each) for each in caught.value.problems]


def test_an_application_is_gated_against_its_own_evidence(project: Application) -> None:
    promoted(project)
    calls_before = project.calls
    project.write("app/answers.py", WORSE)
    result = gate(project)
    assert result.decision is Decision.FAIL
    assert project.calls == calls_before + CASES
    assert result.report.calls == CASES


def test_an_unchanged_application_calls_nothing(project: Application) -> None:
    promoted(project)
    calls_before = project.calls
    assert gate(project).decision is Decision.PASS
    assert project.calls == calls_before


def test_a_baseline_whose_code_is_not_here_is_never_run_with_the_code_that_is(
    project: Application,
) -> None:
    promoted(project)
    project.write("app/answers.py", SAME)
    project.cases(make_cases(CASES + 1))
    calls_before = project.calls
    result = gate(project)
    assert result.decision is Decision.INCOMPLETE
    assert project.calls == calls_before + CASES + 1, "the candidate's draws alone"
    (told,) = unmeasured(result)
    assert "support@v1 cannot be called: what it ran is not here (identity " in told
    assert "`llmops measure support@v1`" in told


def test_a_rerun_leaves_a_baseline_alone_whose_code_is_not_here(
    project: Application,
) -> None:
    promoted(project)
    project.write("app/answers.py", SAME)
    calls_before = project.calls
    assert gate(project, no_cache=True).decision is Decision.PASS
    assert project.calls == calls_before + CASES


def test_evidence_without_texts_still_stands_for_a_baseline_that_cannot_be_called(
    project: Application,
) -> None:
    project.settings = {"evidence": {"outputs": "none"}}
    project.configured(**PYTHON)
    promoted(project)
    store = project.root / ".llmops/store"
    for each in sorted(store.rglob("*"), reverse=True):
        each.unlink() if each.is_file() else each.rmdir()
    project.write("app/answers.py", WORSE)
    assert gate(project).decision is Decision.FAIL


def test_a_version_is_measured_where_its_code_is_and_nowhere_else(project: Application) -> None:
    number = release(project)
    project.write("app/answers.py", SAME)
    found = measured(project, number)
    assert (found.evidence, project.calls) == ((), 0)
    project.write("app/answers.py", ECHO)
    assert len(measured(project, number).evidence) == 1


def test_an_application_that_still_runs_elsewhere_is_called_there(project: Application) -> None:
    with FaultServer() as server:
        old = {"provider": "http", "model": "bot", "base_url": f"{server.url}/old"}
        shape = {"response": {"text": "choices[0].message.content"}, "max_concurrency": 2}
        shape["request"] = {"messages": [{"role": "user", "content": "{{ question }}"}]}
        project.configured(**old, **shape, identity={"revision": 1})
        promoted(project)
        new = {**old, **shape, "identity": {"revision": 2}}
        models = {"app": new, "before": {**old, **shape, "identity": {"revision": 1}}}
        project.write("llmops.yaml", json.dumps({"models": models, "gate": {"margin": MARGIN}}))
        project.cases(make_cases(CASES + 1))
        assert gate(project).decision is Decision.PASS


def test_a_change_of_how_an_application_is_asked_or_read_is_a_new_target(
    project: Application,
) -> None:
    http = {"provider": "http", "base_url": "http://localhost:1/a", "identity": {"revision": 1}}

    def target(**more: Any) -> str:
        project.configured(**{**http, **more})
        with open_workspace(project.root) as workspace:
            return resolve_target(workspace, "support", "working").target.digest

    first = target()
    assert target(base_url="http://localhost:2/b") == first
    assert target(headers={"x": "y"}, timeout=3, allow_hosts=["x"]) == first
    changes: list[dict[str, Any]] = [
        {"method": "PUT"},
        {"request": {"q": "{{ question }}"}},
        {"response": {"text": "a"}},
        {"identity": {"revision": 2}},
    ]
    assert len({first, *(target(**each) for each in changes)}) == 5


def test_a_version_of_an_application_needs_an_identity(project: Application) -> None:
    project.configured(**{**PYTHON, "identity": None})
    with pytest.raises(Refused, match=r"llmops.yaml:1: 'app' has no `identity`"):
        release(project)


def test_without_an_identity_answers_live_for_one_run(project: Application) -> None:
    project.configured(**{**PYTHON, "identity": None})
    assert [gate(project).report.calls for _ in range(2)] == [CASES, CASES]


def test_the_function_s_own_file_is_always_part_of_its_identity(project: Application) -> None:
    project.configured(**{**PYTHON, "identity": {"revision": 1}})
    gate(project)
    project.write("app/main.py", APPLICATION + "# changed\n")
    assert gate(project).report.calls == CASES


def test_an_application_is_handed_what_the_template_says_and_never_what_is_expected(
    project: Application,
) -> None:
    request = {"q": "{{ question }}", "all": "{{ inputs }}", "n": 3, "text": "Q: {{ question }}"}
    project.configured(**HTTP, request=request)
    with open_workspace(project.root) as workspace:
        asked = rendered_request(workspace, "support", case="c001", inputs={})
    assert asked.document == {
        "q": "say 1", "all": {"question": "say 1"}, "n": 3, "text": "Q: say 1",
    }  # fmt: skip
    answer = {"q": "{{ expected }}"}
    project.configured(**HTTP, request=answer)
    assert problems(project)[0].startswith(
        "llmops.yaml:1: `request` of 'app' for the case 'c000': 'expected' is undefined"
    )


def test_a_prompt_of_an_application_may_have_messages_and_parameters(
    project: Application,
) -> None:
    project.write(
        "prompts/support.prompt.yml",
        "model: app\nmodelParameters: {temperature: 0}\ninputs: {question: {type: string}}\n"
        'messages: [{role: user, content: "Q: {{ question }}"}]\n',
    )
    with open_workspace(project.root) as workspace:
        asked = rendered_request(workspace, "support", case="c001", inputs={})
    assert asked.document == {
        "inputs": {"question": "say 1"},
        "messages": [{"role": "user", "content": "Q: say 1"}],
        "parameters": {"temperature": 0.0},
    }


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ({"call": "app/none.py:f"}, "'app': app/none.py is not a file of the project"),
        ({"call": "app/main.py:f"}, "'app': app/main.py has no function 'f'"),
        ({"call": "app/main.py"}, "'app': 'app/main.py' does not name a function"),
        ({"cal": "app/main.py:f"}, "unknown key 'cal' (did you mean 'call'?)"),
        ({"headers": {"a": "b"}}, "'app': 'headers' means nothing to python"),
        ({"identity": {"files": ["app/*.txt"]}}, "'identity': no file matches 'app/*.txt'"),
        ({"identity": {}}, "'identity' names nothing (name the application's `files`"),
        ({"provider": "http", "call": None}, "unknown key 'call'"),
        ({**HTTP, "response": {"text": "a["}}, "'app': 'response.text' is no JMESPath: "),
        ({**HTTP, "response": {"txt": "a"}}, "'models.app.response.txt"),
        ({**HTTP, "request": {"q": "{{ question"}}, "'request': "),
        ({**HTTP, "request": {"q": "{{ 'a' | nope }}"}}, "'request': unknown filter 'nope'"),
        (
            {**HTTP, "base_url": "http://169.254.169.254/"},
            "'app': 'base_url' 'http://169.254.169.254/' is not called: 169.254.169.254 is an",
        ),
    ],
)
def test_what_is_wrong_with_a_model_is_reported_with_its_line(
    model: dict[str, Any], problem: str, project: Application
) -> None:
    project.configured(**(model if "base_url" in model else {**PYTHON, **model}))
    assert any(each.startswith(f"llmops.yaml:1: {problem}") for each in problems(project)), (
        problems(project)
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("responseFormat: json_object", "'responseFormat' is for a model, and app is an applic"),
        ("tools: [{type: function, function: {name: f}}]", "'tools' is for a model, and app is"),
    ],
)
def test_what_an_application_would_not_see_is_refused(
    line: str, problem: str, project: Application
) -> None:
    project.write("prompts/support.prompt.yml", f"model: app\n{line}\ninputs: {{question: {{}}}}\n")
    assert problems(project)[0].startswith(f"prompts/support.prompt.yml:2: {problem}")


def test_a_model_still_needs_messages(project: Application) -> None:
    project.write("prompts/support.prompt.yml", "model: embedded/x\ninputs: {question: {}}\n")
    assert problems(project)[0] == (
        "prompts/support.prompt.yml:1: 'messages' is missing "
        "(only an application answers to inputs alone)"
    )


def test_an_application_judges_nothing(project: Application) -> None:
    project.evalset(scorers=[{"rubric": {"criteria": "Is it kind?", "model": "app"}}])
    assert any(
        "app is an application, and a judge is a model" in each for each in problems(project)
    )


COMMAND: dict[str, Any] = {
    "provider": "command",
    "run": ["python", "app/cli.py"],
    "output": "text",
    "identity": {"revision": 1},
}
CLI = "import json, sys\nprint(json.load(sys.stdin)['inputs']['question'])\n"


@pytest.mark.parametrize(
    ("model", "trust", "named"),
    [
        (PYTHON, ["app/answers.py"], "app/main.py is code, and `trust` in llmops.yaml"),
        (COMMAND, ["app/cli.py"], "`python app/cli.py` is a command, and `trust` in llmops.yaml"),
    ],
)
def test_code_that_is_not_trusted_is_refused_before_any_call(
    model: dict[str, Any], trust: list[str], named: str, project: Application
) -> None:
    project.write("app/cli.py", CLI)
    project.settings = {"trust": trust}
    project.configured(**model)
    with pytest.raises(Refused) as caught:
        gate(project)
    assert caught.value.message.startswith("llmops.yaml:1: the model 'app' may not run: ")
    assert named in caught.value.message
    assert project.calls == 0


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target"])
def test_a_strangers_application_does_not_run_where_there_are_secrets(
    event: str, project: Application, tmp_path: Path
) -> None:
    environ = {**github(tmp_path, event, "stranger/ours"), "OPENAI_API_KEY": "sk-of-the-base"}
    with pytest.raises(Refused):
        gate(project, environ=environ)
    assert project.calls == 0


def test_what_a_change_trusts_itself_is_not_trusted_at_the_base(project: Application) -> None:
    project.settings = {"trust": []}
    project.configured(**PYTHON)
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "base"]):
        git(project.root, *arguments)
    project.settings = {}
    project.configured(**PYTHON)
    with pytest.raises(Refused, match="at the base revision does not name it"):
        gate(project, base="HEAD")
    assert gate(project).decision is Decision.INCONCLUSIVE


def test_a_program_that_is_not_there_is_refused_before_any_call(project: Application) -> None:
    project.settings = {"trust": ["no-such-program"]}
    project.configured(provider="command", run=["no-such-program"])
    with pytest.raises(Refused, match=r"llmops.yaml:1: the model 'app': there is no program"):
        gate(project)


def test_a_command_is_gated(project: Application) -> None:
    project.write("app/cli.py", CLI)
    project.settings = {"trust": ["python app/cli.py"]}
    project.configured(**COMMAND)
    promoted(project)
    project.write("app/cli.py", CLI.replace("['question']", "['question'][:-1]"))
    assert gate(project).decision is Decision.FAIL


def test_what_env_names_is_taken_for_a_secret(project: Application) -> None:
    project.write("app/answers.py", "import os\ndef said(question): return os.environ['MINE']\n")
    project.configured(**{**PYTHON, "env": ["MINE"]})
    with open_workspace(project.root, environ={"MINE": "canary-0123"}) as workspace:
        assert workspace.redact("it is canary-0123") == "it is [redacted]"


def test_what_changed_of_an_application_is_reported(project: Application) -> None:
    http = {"provider": "http", "base_url": "http://localhost:1/a", "identity": {"revision": 1}}
    project.configured(**http)
    release(project)
    project.configured(**{**http, "request": {"q": "{{ question }}"}})
    with open_workspace(project.root) as workspace:
        found = difference(workspace, "support@v1", "support@working")
    assert [each.what for each in found.changes] == ["identity", "option request"]
    assert found.changes[1].after == '{"q": "{{ question }}"}'
