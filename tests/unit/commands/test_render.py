"""What a prompt sends, and which models there are."""

from __future__ import annotations

import pytest

from llmops_cli.commands.models import model_rows
from llmops_cli.commands.render import rendered_request
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.prompt import Request
from llmops_cli.project.project import Project as Files
from llmops_cli.run.workspace import open_project, open_workspace
from tests.projects import Project

TYPED = """\
model: tiny
inputs:
  words: {type: array, items: {type: string}}
  note: {type: string, required: false}
messages:
  - {role: user, content: "{% for word in words %}{{ word }}.{% endfor %}"}
"""


def sent(project: Project, address: str, case: str | None = None, **values: str) -> Request:
    with open_workspace(project.root) as workspace:
        return rendered_request(workspace, address, case=case, inputs=values)


def said(request: Request) -> list[tuple[str, object]]:
    return [(each.role, each.content) for each in request.messages]


def test_the_first_case_is_rendered_unless_one_is_named(running: Project) -> None:
    assert said(sent(running, "support")) == [("system", "Answer."), ("user", "say 0")]
    assert said(sent(running, "support", "c007"))[1] == ("user", "say 7")


def test_a_version_is_rendered_as_it_was_released(running: Project) -> None:
    running.prompt(system="Next.")
    assert said(sent(running, "support@production"))[0] == ("system", "Answer.")
    assert said(sent(running, "support"))[0] == ("system", "Next.")


def test_inputs_can_be_passed(running: Project) -> None:
    assert said(sent(running, "support", question="by hand"))[1] == ("user", "by hand")


def test_inputs_that_are_not_strings_are_json(project: Project) -> None:
    project.write("prompts/typed.prompt.yml", TYPED)
    assert said(sent(project, "typed", words='["a", "b"]')) == [("user", "a.b.")]
    with pytest.raises(Refused, match="--input words: not JSON"):
        sent(project, "typed", words="a, b")


def test_what_is_missing_or_unknown_is_refused(project: Project) -> None:
    project.write("prompts/typed.prompt.yml", TYPED)
    with pytest.raises(Refused, match="no evalset has a case for typed"):
        sent(project, "typed")
    with pytest.raises(Refused, match="the input 'words' is missing"):
        sent(project, "typed", note="x")
    for wrong in ({"case": "c999"}, {"qestion": "x"}):
        with pytest.raises(UnknownName):
            sent(project, "support", **wrong)


def rows(project: Project, **environ: str) -> list[tuple[str, ...]]:
    opened: Files = open_project(project.root)
    return [tuple(each) for each in model_rows(opened, environ)]


def test_every_model_says_what_it_needs_and_who_uses_it(project: Project) -> None:
    project.model = {"api_key_env": "A_KEY", "price": {"input": 1, "output": 2.5}}
    project.models = {"here": {"provider": "embedded"}}
    project.llmops_yaml()
    assert rows(project) == [
        (
            "tiny",
            "openai",
            "tiny",
            project.url,
            "A_KEY is not set",
            "$1 / $2.5 per million",
            "support",
        ),
        ("here", "embedded", rows(project)[1][2], "", "none needed", "", ""),
    ]
    assert rows(project, A_KEY="x")[0][4] == "A_KEY is set"


def test_a_model_that_only_a_prompt_names_is_listed_too(project: Project) -> None:
    project.prompt(model="openai/gpt-4.1-mini")
    assert [row[0] for row in rows(project)] == ["tiny", "openai/gpt-4.1-mini"]
