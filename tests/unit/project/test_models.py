"""A maximum that an API demands is said by the model: it is sent, and it names the request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmops_cli.core.ports import Catalog
from llmops_cli.core.prompt import Message, Model, Prompt, Request, Target
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.models import ProjectContext
from llmops_cli.project.paths import Folder
from llmops_cli.project.project import load_project
from llmops_cli.providers.anthropic.messages import body

CLAUDE = "anthropic/claude-haiku-4-5"


def request(model: Model, **parameters: int) -> Request:
    prompt = Prompt(name="p", model=model.name, parameters=parameters, messages=())
    return Target(prompt=prompt, model=model).request((Message(role="user", content="x"),))


def with_maximum(most: int) -> Catalog:
    """An llmops whose default for Claude is another."""
    known = catalog()
    claude = replace(known.providers["anthropic"], max_tokens=most)
    return replace(known, providers={**known.providers, "anthropic": claude})


def resolved(name: str, known: Catalog) -> Model:
    return ProjectContext(catalog=known, source=Folder(Path())).resolve_model(name)


def test_another_default_is_another_request_and_is_what_is_sent() -> None:
    ours, theirs = (request(resolved(CLAUDE, known)) for known in (catalog(), with_maximum(8192)))
    assert (body(ours)["max_tokens"], body(theirs)["max_tokens"]) == (4096, 8192)
    assert ours.digest != theirs.digest
    named = request(resolved(CLAUDE, with_maximum(8192)), max_completion_tokens=7)
    assert body(named)["max_tokens"] == 7


@pytest.mark.parametrize(
    ("written", "sent"),
    [("", 4096), ("maxTokens: 9", 9), ("maxCompletionTokens: 8", 8)],
)
def test_a_model_of_llmops_yaml_says_its_maximum(tmp_path: Path, written: str, sent: int) -> None:
    model = f"{{provider: anthropic, model: claude-haiku-4-5, modelParameters: {{{written}}}}}"
    (tmp_path / "llmops.yaml").write_text(f"models: {{m: {model}}}\n", encoding="utf-8")
    loaded = load_project(tmp_path, catalog()).models["m"]
    assert len(loaded.parameters) == 1
    assert body(request(loaded))["max_tokens"] == sent


def test_no_other_provider_is_called_differently_than_before() -> None:
    known = catalog()
    assert {name for name, kind in known.providers.items() if kind.max_tokens} == {"anthropic"}
    assert resolved("openai/gpt", known).parameters == {}
