"""`llmops render`: the request that a prompt makes for a case."""

from __future__ import annotations

import json
from collections.abc import Mapping

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.prompt import Case, Prompt, Request
from llmops_cli.project.project import Project
from llmops_cli.project.templates import Templates, documents_of
from llmops_cli.run.selection import resolve_target
from llmops_cli.run.workspace import Workspace


def rendered_request(
    workspace: Workspace, address: str, *, case: str | None, inputs: Mapping[str, str]
) -> Request:
    """Return what `address` sends for a case of its evalsets, or for `inputs` of the command line.

    Raises `UnknownName` or `Refused`.
    """
    name, _, selector = address.partition("@")
    target = resolve_target(workspace, name, selector or "working").target
    rendered = (
        _case_of_inputs(target.prompt, inputs) if inputs else _case(workspace.project, name, case)
    )
    messages = Templates(target.prompt).messages(rendered)
    documents = documents_of(target, workspace.catalog)
    document = None if documents is None else documents.document(rendered, messages)
    return target.request(messages, document=document)


def _case(project: Project, name: str, case_id: str | None) -> Case:
    """Return the case `case_id` of the evalsets of the prompt `name`; None: the first."""
    cases = [case for evalset in project.load(project.evalsets_of(name)) for case in evalset.cases]
    for case in cases:
        if case_id in {None, case.id}:
            return case
    if case_id is None:
        raise Refused(f"no evalset has a case for {name}", hint="give inputs: --input NAME=VALUE")
    raise UnknownName("case", case_id, [case.id for case in cases])


def _case_of_inputs(prompt: Prompt, texts: Mapping[str, str]) -> Case:
    """Return a case of typed inputs: strings as they are, anything else read as JSON."""
    inputs: dict[str, Json] = {}
    for name, text in texts.items():
        if name not in prompt.inputs:
            raise UnknownName("input", name, prompt.inputs)
        if prompt.inputs[name].get("type", "string") == "string":
            inputs[name] = text
            continue
        try:
            inputs[name] = json.loads(text)
        except ValueError as error:
            raise Refused(f"--input {name}: not JSON: {error}") from error
    for name, schema in prompt.inputs.items():
        if name not in inputs and schema.get("required", True) and "default" not in schema:
            raise Refused(f"the input {name!r} is missing", hint=f"--input {name}=VALUE")
    return Case(id="by hand", inputs=inputs)
