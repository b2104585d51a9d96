"""What changed between two versions."""

from __future__ import annotations

import pytest

from llmops_cli.commands.diff import difference
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.report import Difference
from llmops_cli.run.workspace import open_workspace
from tests.projects import Project
from tests.unit.gated_project import release


def compared(project: Project, before: str, after: str = "working") -> Difference:
    with open_workspace(project.root) as workspace:
        return difference(workspace, before, after)


def whats(found: Difference) -> list[str]:
    return [each.what for each in found.changes]


def test_nothing_changed(running: Project) -> None:
    found = compared(running, "support@production")
    assert (found.before, found.after, found.changes) == ("support@v1", "support@working", ())


def test_texts_parameters_and_models_are_compared(running: Project) -> None:
    running.models = {"other": {"provider": "openai", "model": "other", "base_url": running.url}}
    running.llmops_yaml()
    running.prompt(system="Answer kindly.", model="other", temperature=0.5)
    found = compared(running, "support@v1")
    assert whats(found) == ["model", "parameter temperature", "message 1 (system)"]
    model, temperature, system = found.changes
    assert (model.before, model.after) == ("openai/tiny", "openai/other")
    assert (temperature.before, temperature.after) == ("0.0", "0.5")
    assert (system.before, system.after) == ("Answer.", "Answer kindly.")


def test_a_turn_that_only_moved_down_is_no_change(running: Project) -> None:
    text = running.read("prompts/support.prompt.yml")
    turn = '  - {role: user, content: "an example"}\n'
    running.write("prompts/support.prompt.yml", text.replace("messages:\n", f"messages:\n{turn}"))
    found = compared(running, "support@v1")
    assert [(each.what, each.before, each.after) for each in found.changes] == [
        ("message 1 (user)", None, "an example")
    ]


def test_new_required_inputs_break_callers(running: Project) -> None:
    text = running.read("prompts/support.prompt.yml")
    running.write(
        "prompts/support.prompt.yml",
        text.replace("inputs:\n", "inputs:\n  tone: {type: string}\n"),
    )
    found = compared(running, "support@v1")
    assert whats(found) == ["input tone"]
    assert len(found.breaking) == 1
    assert "tone" in found.breaking[0]


def test_the_extra_body_is_compared(running: Project) -> None:
    running.model["extra_body"] = {"top_k": 3}
    running.llmops_yaml()
    assert whats(compared(running, "support@v1")) == ["extra body top_k"]


def test_a_version_may_be_named_by_its_selector_alone(running: Project) -> None:
    running.prompt(system="Next.")
    release(running)
    found = compared(running, "support@v1", "v2")
    assert (found.before, found.after) == ("support@v1", "support@v2")
    assert found.scores.keys() == {"support@v1"}


def test_another_prompt_may_be_named(running: Project) -> None:
    running.write("prompts/other.prompt.yml", running.read("prompts/support.prompt.yml"))
    found = compared(running, "support", "other")
    assert (found.after, found.changes) == ("other@working", ())


def test_unknown_names_are_refused(running: Project) -> None:
    with pytest.raises(UnknownName):
        compared(running, "suport")
    with pytest.raises(UnknownName):
        compared(running, "support@v1", "v9")


def test_a_working_copy_is_not_compared_with_itself(running: Project) -> None:
    with pytest.raises(Refused, match="both are the working copy") as caught:
        compared(running, "support@working")
    assert "llmops diff support@production" in (caught.value.hint or "")
