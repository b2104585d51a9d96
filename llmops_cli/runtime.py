"""What an application uses: `load_prompt`, and the prompt it returns.

A prompt is looked for in the argument `source`, the variable `LLMOPS_BUNDLE`, the argument
`resource` (`package:file`, which the application ships), and the nearest `.llmops/` from here
upwards, in this order, without git or a network. It is loaded once per process and source: an
application keeps the prompt it has started with until it is restarted, whatever is written
meanwhile. `LLMOPS_PIN=support=v3,other=v1` replaces the versions asked for, without a deploy.

A prompt is immutable, typed and safe to share between threads. It renders with the same templates
as `llmops eval`, so that what was measured is what is sent. Inputs are checked as `eval` checks a
case, all problems at once. Only plain data reaches a template (docs/security.md): text, numbers,
booleans, null, lists and mappings; subclasses of these (an enum of texts, a `defaultdict`, a tuple)
become plain first.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from pkgutil import get_data
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_args

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles, Refused, suggestion
from llmops_cli.core.prompt import Case, Message, Request, Role
from llmops_cli.core.records import Version
from llmops_cli.project.inputs import Schemas, is_required, mismatch
from llmops_cli.providers.anthropic import messages
from llmops_cli.providers.openai import messages as chat
from llmops_cli.stores.bundle import Bundle, bundle_of, read_bundle
from llmops_cli.stores.registry import Registry, target_of
from llmops_cli.stores.registry_files import FOLDER

if TYPE_CHECKING:
    from llmops_cli.project.templates import Templates

PIN = "LLMOPS_PIN"
UNRELEASED = frozenset({"", "working", "latest"})
MAKE_ONE = "llmops bundle ENV --out FILE makes one"
_LOCK = threading.Lock()

SourceName: TypeAlias = Path | str
"""The path of a bundle or of a folder with `.llmops/`, or the text `package:file`."""


class QuarantinedVersion(UserWarning):
    """Warns that a loaded version was rolled back in an environment and should be replaced soon."""


def load_prompt(
    address: str, *, source: str | os.PathLike[str] | None = None, resource: str | None = None
) -> Prompt:
    """Return the version at `address`: `support@production`, `support@production~1`, `support@v3`.

    `source` is a bundle or a folder with `.llmops/`; without it the variable `LLMOPS_BUNDLE`
    counts, then `resource` (`package:file`: the bundle that an application ships), then the
    nearest `.llmops/`. Raises `IntegrityBroken` if it is not what was released, `UnknownName`
    and `Refused`. A version under quarantine is loaded, with a `QuarantinedVersion` warning.
    """
    name, _, selector = address.partition("@")
    selector = _pins(os.environ).get(name, selector)
    if selector in UNRELEASED:
        raise Refused(
            f"{address}: an application runs what was promoted",
            hint=f"{name}@production, or another environment or version",
        )
    source_name = find_source(source, resource, os.environ)
    with _LOCK:
        return _load(name, selector, source_name)


def find_source(
    source: str | os.PathLike[str] | None, resource: str | None, environ: Mapping[str, str]
) -> SourceName:
    """Return the first source there is. Raises `Refused` if there is none."""
    path = source or environ.get("LLMOPS_BUNDLE")
    if path:
        return Path(path).absolute()
    if resource is not None:
        return resource
    here = Path.cwd()
    for folder in (here, *here.parents):
        if os.path.lexists(folder / FOLDER):  # a link is refused, not passed over
            return folder
    raise Refused(
        f"no {FOLDER}/ in {here} or above it, and no bundle was given",
        hint=f"set LLMOPS_BUNDLE to a bundle; {MAKE_ONE}",
    )


@cache
def _load(name: str, selector: str, source_name: SourceName) -> Prompt:
    source = _open(source_name)
    version = source.version(name, source.resolve(name, selector))
    if version.number in source.quarantined(name):
        warnings.warn(
            f"{version.address} is quarantined: llmops history {name} says why",
            QuarantinedVersion,
            stacklevel=3,
        )
    return Prompt(_version=version)


@cache  # one bundle serves many prompts: it is read and checked once
def _open(source: SourceName) -> Bundle | Registry:
    """Open a source. Raises `Refused`, and `IntegrityBroken` for a bundle's digest."""
    if isinstance(source, str):
        return bundle_of(_package_data(source), Path(source))
    if source.is_dir():
        root = source.parent if source.name == FOLDER else source
        if not (root / FOLDER).is_dir():
            raise Refused(f"no {FOLDER}/ in {source}", hint=f"name a bundle; {MAKE_ONE}")
        return Registry(root)
    try:
        return read_bundle(source)
    except OSError as error:
        raise Refused(f"no bundle: {source}: {error.strerror}", hint=MAKE_ONE) from error


def _package_data(resource: str) -> bytes:
    package, _, name = resource.partition(":")
    try:
        content = get_data(package, name)
        problem = "there is no such package"
    except (ImportError, OSError, ValueError) as error:
        content, problem = None, str(error)
    if content is None:
        raise Refused(
            f"no bundle in the package: {resource}: {problem}", hint="write resource='package:file'"
        )
    return content


def _pins(environ: Mapping[str, str]) -> dict[str, str]:
    pins = {}
    for pin in filter(None, (part.strip() for part in environ.get(PIN, "").split(","))):
        name, equals, selector = pin.partition("=")
        if not (name and equals and selector):
            raise Refused(f"{PIN}: {pin!r} is no pin", hint=f"{PIN}=support=v3,other=v1")
        pins[name.strip()] = selector.strip()
    return pins


class WrongInputs(Refused, TypeError):
    """The inputs don't match those that the prompt declares."""


def _checked(address: str, inputs: Mapping[str, object], schemas: Schemas) -> dict[str, Json]:
    """Return `inputs` as plain data that fits `schemas`. Raises `WrongInputs` with all problems."""
    problems = []
    for name in sorted(set(inputs) - set(schemas)):
        hint = suggestion(name, sorted(schemas)) or "it takes none"
        problems.append(f"it has no input '{name}' ({hint})")
    missing = [name for name in sorted(set(schemas) - set(inputs)) if is_required(schemas[name])]
    problems += [f"the input '{name}' is missing" for name in missing]
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


def _turn(address: str, at: int, turn: Mapping[str, object]) -> Message:
    """Return an earlier turn of a conversation as a message. Raises `WrongInputs`."""
    role, content = turn.get("role"), turn.get("content")
    if turn.keys() == {"role", "content"} and role in get_args(Role):
        if isinstance(content, str):
            return Message(role=cast("Role", role), content=content)
        if isinstance(content, (list, tuple)) and all(isinstance(p, Mapping) for p in content):
            return Message(role=cast("Role", role), content=tuple(map(dict, content)))
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
        extra = {"extra_body": dict(self.request.extra_body)} if self.request.extra_body else {}
        return deepcopy(body(replace(self.request, extra_body={})) | extra)


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

    def attributes(self) -> dict[str, str]:
        """Return the attributes of an OpenTelemetry span that name this version to `watch`."""
        return {
            "llmops.prompt": self.name,
            "llmops.version": str(self),
            "llmops.target": self.digest,
        }

    def render(self, earlier: Sequence[Mapping[str, object]] = (), /, **inputs: object) -> Rendered:
        """Return the request for `inputs`.

        `earlier` are the turns of a conversation so far, `{"role": …, "content": …}`; they come
        before the prompt's last user turn. Raises `WrongInputs`, a `TypeError`, for inputs that
        are missing, not declared or of another type.
        """
        address = str(self)
        case = Case(
            id=address,
            inputs=_checked(address, inputs, self._version.prompt.inputs),
            messages=tuple(_turn(address, at, turn) for at, turn in enumerate(earlier, start=1)),
        )
        try:
            messages = self._templates.messages(case)
        except InvalidFiles as error:
            raise WrongInputs("; ".join(problem.message for problem in error.problems)) from error
        return Rendered(
            name=self.name,
            version=self.version,
            digest=self.digest,
            request=target_of(self._version).request(messages),
        )

    @cached_property
    def _templates(self) -> Templates:
        from llmops_cli.project.templates import Templates  # noqa: PLC0415 - jinja2 takes 40 ms

        return Templates(self._version.prompt)
