"""Looking at a project without running it: the request of a case, the models it can reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.prompt import Model, Prompt, Request
from llmops_cli.project.documents import load_json
from llmops_cli.project.project import Project
from llmops_cli.project.templates import Templates
from llmops_cli.run.selection import resolve_target
from llmops_cli.run.workspace import Workspace


def rendered_request(
    workspace: Workspace, address: str, *, case: str | None, values: Mapping[str, str]
) -> Request:
    """What `address` sends for a case of its evalsets, or for `values` given by hand."""
    name, _, selector = address.partition("@")
    contender = resolve_target(workspace, name, selector or "working")
    prompt = contender.target.prompt
    chosen = _by_hand(prompt, values) if values else _case(workspace.project, name, case)
    messages = Templates(prompt).messages(chosen)
    documents = workspace.documents(contender.target)
    document = None if documents is None else documents.document(chosen, messages)
    return contender.target.request(messages, document=document)


def model_rows(
    project: Project, environ: Mapping[str, str], names: Sequence[str] = ()
) -> list[tuple[str, str, str, str, str, str, str]]:
    """One row per model, or per one of `names`.

    Name, provider, model, where, key, price, prompts that use it.
    """
    users: dict[str, list[str]] = {}
    for prompt in project.prompts.values():
        users.setdefault(prompt.model, []).append(prompt.name)
    return [
        (
            model.name,
            model.provider,
            model.model,
            _where(model),
            _key(model, project, environ),
            _price(model),
            ", ".join(users.get(model.name, [])),
        )
        for model in chosen(project, names)
    ]


def chosen(project: Project, names: Sequence[str]) -> Iterator[Model]:
    """The models of llmops.yaml and those that prompts name directly, or those called `names`.

    Raises `UnknownName`.
    """
    direct = (each.model for each in project.prompts.values())
    every = names or [*project.models, *direct]
    return (project.resolve_model(name) for name in dict.fromkeys(every))


def _case(project: Project, name: str, wanted: str | None) -> Case:
    evalsets = project.load(project.evalsets_of(name))
    cases = [case for evalset in evalsets for case in evalset.cases]
    if wanted is None and cases:
        return cases[0]
    for case in cases:
        if case.id == wanted:
            return case
    if wanted is None:
        raise Refused(f"no evalset has a case for {name}", hint="give inputs: --input NAME=VALUE")
    raise UnknownName("case", wanted, [case.id for case in cases])


def _by_hand(prompt: Prompt, values: Mapping[str, str]) -> Case:
    """A case of typed inputs: text as it is, anything else read as JSON."""
    inputs: dict[str, Json] = {}
    for name, text in values.items():
        if name not in prompt.inputs:
            raise UnknownName("input", name, prompt.inputs)
        if prompt.inputs[name].get("type", "string") == "string":
            inputs[name] = text
            continue
        try:
            inputs[name] = load_json(text)
        except ValueError as error:
            raise Refused(f"--input {name}: not JSON: {error}") from error
    missing = [
        name
        for name, schema in prompt.inputs.items()
        if name not in inputs and schema.get("required", True) and "default" not in schema
    ]
    if missing:
        raise Refused(f"the input {missing[0]!r} is missing", hint=f"--input {missing[0]}=VALUE")
    return Case(id="by hand", inputs=inputs)


def _key(model: Model, project: Project, environ: Mapping[str, str]) -> str:
    name = model.api_key_env or project.catalog.providers[model.provider].api_key_env
    if name is None:
        return "none needed"
    return f"{name} {'is set' if environ.get(name) else 'is not set'}"


def _where(model: Model) -> str:
    """Its URL, or the code that answers."""
    run = model.options.get("run")
    command = " ".join(map(str, run)) if isinstance(run, (list, tuple)) else run
    return str(model.base_url or model.options.get("call") or command or "")


def _price(model: Model) -> str:
    if model.price is None:
        return ""
    return f"${model.price.input:g} / ${model.price.output:g} per million"
