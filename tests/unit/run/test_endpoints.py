"""Requests go where the base revision sends them, with the keys that it sends there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.commands.evaluate import unseen
from llmops_cli.commands.models import probe_models
from llmops_cli.core.errors import Refused
from llmops_cli.core.policy import Decision
from llmops_cli.run.workspace import open_workspace
from tests.projects import Project
from tests.servers.faulty import FaultServer, Server
from tests.unit.gated_project import CASES, gate
from tests.unit.run.test_checks import github
from tests.unit.run.test_workspace import committed

SECRETS = {
    "OPENAI_API_KEY": "sk-canary-of-the-vendor",
    "DEPLOY_TOKEN": "canary-of-the-deployment",
    "AWS_SECRET_ACCESS_KEY": "canary-of-the-cloud",
}


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    """A server of whoever wrote the change."""
    with FaultServer() as running:
        yield running


@pytest.fixture
def changed(running: Project) -> Project:
    """A change of the prompt, which needs calls."""
    committed(running)
    running.prompt(system="Next.")
    return running


def set_model(project: Project, **settings: Any) -> None:
    project.model = {"retries": 0, **settings}
    project.llmops_yaml()


def refusal(project: Project, **environ: str) -> str:
    with pytest.raises(Refused) as refused:
        gate(project, base="main", environ={**SECRETS, **environ})
    text = f"{refused.value.message} ({refused.value.hint})"
    assert "canary" not in text
    return text


def test_a_change_cannot_send_keys_to_a_server_of_its_own(
    changed: Project, server: Server, elsewhere: Server
) -> None:
    set_model(
        changed,
        base_url=elsewhere.url,
        api_key_env="DEPLOY_TOKEN",
        headers={"x-more": "env:AWS_SECRET_ACCESS_KEY"},
    )
    place = elsewhere.url.removesuffix("/v1")
    text = refusal(changed)
    assert text.startswith(
        "llmops.yaml:3: 'tiny' would send AWS_SECRET_ACCESS_KEY, DEPLOY_TOKEN, the header x-more "
        f"to {elsewhere.url}, and no model at main does"
    )
    assert f"`trust: [{place}]`" in text
    assert (server.requests, elsewhere.requests) == (0, 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key_env": "DEPLOY_TOKEN"},
        {"headers": {"x-more": "env:DEPLOY_TOKEN"}},
        {"headers": {"authorization": "Bearer env:DEPLOY_TOKEN"}},
    ],
)
def test_a_change_cannot_send_another_key_to_a_known_server(
    changed: Project, server: Server, settings: dict[str, Any]
) -> None:
    set_model(changed, **settings)
    text = refusal(changed)
    assert text.startswith("llmops.yaml:3: 'tiny' would send DEPLOY_TOKEN")
    assert f" to {server.url}, and no model at main does" in text
    assert server.requests == 0


@pytest.mark.parametrize("path", ["/v1/tenants/mine", "/v1?tenant=mine", "/v1/../mine"])
def test_a_change_cannot_send_keys_to_another_tenant_of_a_known_host(
    changed: Project, server: Server, path: str
) -> None:
    url = server.url.removesuffix("/v1") + path
    set_model(changed, base_url=url)
    assert f"would send OPENAI_API_KEY to {url}, and no model at main does" in refusal(changed)
    assert server.requests == 0


@pytest.mark.parametrize("header", ["Host", "x-custom-host"])
def test_a_change_cannot_add_a_header_that_a_gateway_may_route_by(
    changed: Project, server: Server, header: str
) -> None:
    set_model(changed, headers={header: "evil.example"})
    assert f"would send the header {header.lower()} to {server.url}" in refusal(changed)
    assert server.requests == 0


def test_a_change_cannot_send_inputs_to_an_unknown_server(
    changed: Project, elsewhere: Server
) -> None:
    changed.models = {"bot": {"provider": "http", "base_url": elsewhere.url}}
    changed.llmops_yaml()
    changed.prompt(model="bot")
    assert f"'bot' would call {elsewhere.url}, and" in refusal(changed)
    assert elsewhere.requests == 0


def test_a_change_cannot_send_keys_to_a_judge_of_its_own(
    changed: Project, server: Server, elsewhere: Server
) -> None:
    changed.models = {"judge": {"provider": "openai", "model": "j", "base_url": elsewhere.url}}
    changed.llmops_yaml()
    changed.evalset(scorers=[{"rubric": {"criteria": "Is it kind?", "model": "judge"}}])
    assert "'judge' would send OPENAI_API_KEY" in refusal(changed)
    assert (server.requests, elsewhere.requests) == (0, 0)


def test_a_change_cannot_give_a_variable_to_code_that_is_trusted(project: Project) -> None:
    bot: dict[str, Any] = {"provider": "python", "call": "app/bot.py:answer"}
    project.write("app/bot.py", "def answer(inputs):\n    return inputs['question']\n")
    project.settings |= {"trust": ["app/*.py"]}
    project.models = {"bot": bot}
    project.llmops_yaml()
    project.prompt(model="bot")
    committed(project)
    assert gate(project, base="main").decision is Decision.PASS
    project.models = {"bot": {**bot, "env": ["DEPLOY_TOKEN"]}}
    project.llmops_yaml()
    assert "would send DEPLOY_TOKEN to app/bot.py:answer" in refusal(project)


def test_a_host_that_is_trusted_at_the_base_may_be_called(
    changed: Project, elsewhere: Server
) -> None:
    place = elsewhere.url.removesuffix("/v1")
    changed.settings["trust"] = [place]
    set_model(changed, base_url=elsewhere.url, api_key_env="DEPLOY_TOKEN")
    assert "would send" in refusal(changed)  # the change trusts it itself
    own, changed.model = changed.model, {"retries": 0}
    changed.llmops_yaml()
    committed(changed)
    changed.prompt(system="Another.")
    set_model(changed, **own)
    result = gate(changed, base="main", environ=SECRETS)
    assert result.decision is Decision.PASS
    assert elsewhere.requests >= CASES
    why = result.finding("models").why
    assert f"→ {elsewhere.url}" in why
    assert "variables that it is sent none → DEPLOY_TOKEN" in why


def test_changed_headers_and_new_names_of_models_are_findings(changed: Project) -> None:
    changed.settings["trust"] = [changed.url]
    changed.llmops_yaml()
    committed(changed)
    changed.model = {"retries": 0, "headers": {"x-team": "blue"}, "extra_body": {"top_k": 1}}
    changed.llmops_yaml("small")
    changed.prompt(system="Next.", model="small")
    why = gate(changed, base="main").finding("models").why
    assert "other headers (x-team), another extra_body (top_k), its name is new" in why


def test_without_a_base_a_model_is_called_where_the_project_says(
    changed: Project, elsewhere: Server
) -> None:
    set_model(changed, base_url=elsewhere.url, api_key_env="DEPLOY_TOKEN")
    gate(changed, environ=SECRETS)
    assert elsewhere.requests > 0


# A change from outside, with secrets within its reach ---------------------------------------------


@pytest.mark.parametrize("head", ["stranger/ours", None])
def test_a_strangers_change_makes_no_calls_where_there_are_secrets(
    changed: Project, server: Server, tmp_path: Path, head: str | None
) -> None:
    environ = {**SECRETS, **github(tmp_path, "pull_request", head)}
    result = gate(changed, base="main", environ=environ)
    assert (result.decision, server.requests) == (Decision.INCOMPLETE, 0)
    whose = head or "a repository that is not known"
    assert f"not called: this change is from {whose}, and there are secrets within its reach" in (
        str(result.report)
    )


def test_what_is_stored_counts_for_a_strangers_change(
    changed: Project, server: Server, tmp_path: Path
) -> None:
    assert gate(changed, base="main").decision is Decision.PASS
    requests = server.requests
    event = github(tmp_path, "pull_request", "stranger/ours")
    environ = {**SECRETS, **event, "LLMOPS_STORE": str(changed.store)}
    assert gate(changed, base="main", environ=environ).decision is Decision.PASS
    assert server.requests == requests


def test_a_strangers_change_probes_no_model_where_there_are_secrets(
    changed: Project, server: Server, tmp_path: Path
) -> None:
    environ = {**SECRETS, **github(tmp_path, "pull_request", "stranger/ours")}
    with (
        open_workspace(changed.root, environ=environ) as workspace,
        pytest.raises(Refused, match="tiny is not called: this change is from stranger/ours"),
    ):
        probe_models(workspace, (), progress=unseen)
    assert server.requests == 0
