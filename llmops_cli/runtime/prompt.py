"""A released prompt in a running application: immutable, typed, safe to share between threads.

It renders with the same templates as `llmops eval`, so that what was measured is what is sent. The
template engine is imported at the first rendering: loading a prompt costs less. Inputs are checked
as `eval` checks a case, all problems at once. Only plain data reaches a template
(docs/security.md): text, numbers, booleans, null, lists and mappings; subclasses of these (an enum
of texts, a `defaultdict`, a tuple) become plain first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles, Refused, suggestion
from llmops_cli.core.prompt import Case, Message, Request, Role, Target
from llmops_cli.core.records import Version
from llmops_cli.project.inputs import Schemas, is_required, mismatch
from llmops_cli.providers.anthropic import messages
from llmops_cli.providers.openai import messages as chat

if TYPE_CHECKING:
    from llmops_cli.project.templates import Templates


class WrongInputs(Refused, TypeError):
    """The inputs don't match those that the prompt declares."""


def checked(address: str, inputs: Mapping[str, object], schemas: Schemas) -> dict[str, Json]:
    """Return `inputs` as plain data that fits `schemas`. Raises `WrongInputs` with all problems."""
    problems = [*_misnamed(inputs, schemas)]
    values: dict[str, Json] = {}
    for name in sorted(set(inputs) & set(schemas)):
        try:
            values[name] = _plain(inputs[name])
        except TypeError as error:
            problems.append(f"the input '{name}' {error}")
            continue
        if (why := mismatch(values[name], schemas[name])) is not None:
            problems.append(f"the input '{name}' {why}")
    if problems:
        raise WrongInputs(f"{address}: {'; '.join(problems)}")
    return values


def turns(address: str, earlier: Sequence[Mapping[str, object]]) -> tuple[Message, ...]:
    """Return earlier turns of a conversation as messages. Raises `WrongInputs`."""
    return tuple(_turn(address, at, dict(turn)) for at, turn in enumerate(earlier, start=1))


def _misnamed(inputs: Mapping[str, object], schemas: Schemas) -> Iterator[str]:
    for name in sorted(set(inputs) - set(schemas)):
        hint = suggestion(name, sorted(schemas)) or "it takes none"
        yield f"it has no input '{name}' ({hint})"
    for name in sorted(set(schemas) - set(inputs)):
        if is_required(schemas[name]):
            yield f"the input '{name}' is missing"


def _turn(address: str, at: int, turn: dict[str, object]) -> Message:
    role, content = turn.get("role"), turn.get("content")
    for known in get_args(Role):
        if role == known and turn.keys() == {"role", "content"}:
            if isinstance(content, str):
                return Message(role=known, content=content)
            if isinstance(content, (list, tuple)) and all(isinstance(p, Mapping) for p in content):
                return Message(role=known, content=tuple(dict(part) for part in content))
    raise WrongInputs(
        f"{address}: the earlier turn {at} must be a role and a content, and nothing else",
        hint="what has more (tool calls, say) goes after it: [*rendered.messages, …]",
    )


def _plain(value: object) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str.__str__(key): _plain(item) for key, item in value.items()}
    raise TypeError(f"holds a {type(value).__name__}, which is no plain data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One request, exactly as `llmops eval` measured it.

    Every attribute is the caller's own copy, as the SDKs take it: changing it changes nothing here.
    To go on with the conversation, send `[*rendered.messages, …]`.
    """

    name: str
    """Name of the prompt."""
    version: int
    digest: str
    """Digest of the target, as in evidence and `llmops status`."""
    request: Request = field(repr=False)

    @property
    def provider(self) -> str:
        """`openai`, `anthropic`, `vllm` …"""
        return self.request.provider

    @property
    def model(self) -> str:
        """The provider's name for the model."""
        return self.request.model

    @property
    def messages(self) -> list[dict[str, Any]]:
        """`[{"role": …, "content": …}, …]`."""
        return deepcopy([dict(message.plain()) for message in self.request.messages])

    @property
    def parameters(self) -> dict[str, Any]:
        """`temperature`, `max_tokens` …: the model's defaults under the prompt's own."""
        return deepcopy(dict(self.request.parameters))

    @property
    def response_format(self) -> dict[str, Any] | None:
        """As chat completions take it; None if the prompt asks for none."""
        requested: dict[str, Any] | None = chat.body(self.request).get("response_format")
        return deepcopy(requested)

    @property
    def tools(self) -> list[dict[str, Any]]:
        """In OpenAI's shape."""
        return deepcopy([dict(tool) for tool in self.request.tools])

    def openai(self) -> dict[str, Any]:
        """Return the arguments of `client.chat.completions.create(**…)`."""
        return self._arguments(chat.body)

    def anthropic(self) -> dict[str, Any]:
        """Return the arguments of `client.messages.create(**…)`."""
        return self._arguments(messages.body)

    def _arguments(self, body: Callable[[Request], dict[str, Any]]) -> dict[str, Any]:
        """Return them; what the API takes and the SDK does not know is sent as `extra_body`."""
        sent = body(replace(self.request, extra_body={}))
        if self.request.extra_body:
            sent["extra_body"] = dict(self.request.extra_body)
        return deepcopy(sent)


@dataclass(frozen=True, eq=False, kw_only=True)
class Prompt:
    """One version of a prompt, as it was released."""

    _version: Version = field(repr=False)

    def __str__(self) -> str:
        return self._version.address

    @property
    def name(self) -> str:
        return self._version.name

    @property
    def version(self) -> int:
        return self._version.number

    @property
    def digest(self) -> str:
        """Of the target: what evidence and `llmops status` know the version by."""
        return self._version.target

    @property
    def provider(self) -> str:
        """`openai`, `anthropic`, `vllm` …"""
        return self._version.model.provider

    @property
    def model(self) -> str:
        """The provider's name for the model."""
        return self._version.model.model

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs that `render` takes."""
        return tuple(self._version.prompt.inputs)

    def render(self, earlier: Sequence[Mapping[str, object]] = (), /, **inputs: object) -> Rendered:
        """Return the request for `inputs`.

        `earlier` are the turns of a conversation so far, `{"role": …, "content": …}`; they come
        before the prompt's last user turn. Raises `WrongInputs`, a `TypeError`, for inputs that
        are missing, not declared or of another type.
        """
        address = str(self)
        case = Case(
            id=address,
            inputs=checked(address, inputs, self._version.prompt.inputs),
            messages=turns(address, earlier),
        )
        try:
            messages = self._templates.messages(case)
        except InvalidFiles as error:
            raise WrongInputs("; ".join(problem.message for problem in error.problems)) from error
        return Rendered(
            name=self.name,
            version=self.version,
            digest=self.digest,
            request=self._target.request(messages),
        )

    @cached_property
    def _target(self) -> Target:
        return Target(prompt=self._version.prompt, model=self._version.model)

    @cached_property
    def _templates(self) -> Templates:
        from llmops_cli.project.templates import Templates  # noqa: PLC0415 - jinja2 takes 40 ms

        return Templates(self._version.prompt)
