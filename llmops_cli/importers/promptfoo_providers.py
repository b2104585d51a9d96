"""Turns a promptfoo provider into a model of llmops.yaml, with the prompt's share of its settings.

`tools` and `response_format` belong to a prompt here, so they come back beside the model. Keys are
never copied: a configuration that holds one is told to name an environment variable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import ValidationError

from llmops_cli.core.errors import Location
from llmops_cli.importers.imported import ImportedModel, NotCarried, Notes, free_name, name_for
from llmops_cli.importers.source import ImportFolder, is_file, mapping
from llmops_cli.project.models import SECRET_HEADERS
from llmops_cli.project.schema import ModelParameters, Tool

COMPATIBLE: Mapping[str, tuple[str, str | None]] = {
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "xai": ("https://api.x.ai/v1", "XAI_API_KEY"),
    "togetherai": ("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "fireworks": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "perplexity": ("https://api.perplexity.ai", "PERPLEXITY_API_KEY"),
    "cerebras": ("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "hyperbolic": ("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY"),
    "google": ("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    "ollama": ("http://localhost:11434/v1", None),
    "localai": ("http://localhost:8080/v1", None),
    "litellm": ("http://localhost:4000", "LITELLM_API_KEY"),
}
"""Vendors whose chat API is OpenAI's: the URL, and where the key is looked for."""
MODES = frozenset({"chat", "completion", "responses", "messages"})
NOT_CHAT = frozenset({
    "assistant", "realtime", "image", "video", "moderation", "embedding", "embeddings", "audio",
    "transcription", "tts", "claude-agent-sdk", "agents", "codex-sdk", "live", "chatkit",
})  # fmt: skip
SPELLINGS: Mapping[str, str] = {
    "max_output_tokens": "max_completion_tokens",
    "stop_sequences": "stop",
    **{field.alias: name for name, field in ModelParameters.model_fields.items() if field.alias},
}
WRITTEN = {name: field.alias or name for name, field in ModelParameters.model_fields.items()}
"""Parameters as they are named in a prompt's file."""
OF_THE_PROMPT = frozenset({"tools", "functions", "response_format"})
ADDRESS = frozenset({"apiBaseUrl", "apiHost", "apiKey", "apiKeyEnvar", "headers", "passthrough"})
FROM_ENVIRONMENT = re.compile(r"\{\{\s*env\.(\w+)\s*\}\}|\$\{?(\w+)\}?|env:(\w+)")
PARTS = frozenset({"id", "label", "config", "prompts"})
BY_BASE_URL = "name a model in llmops.yaml; any server that speaks OpenAI's API by its `base_url`"

Where: TypeAlias = Callable[..., Location]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider that can be called here."""

    id: str
    label: str | None
    model: ImportedModel
    shape: Mapping[str, Any] = field(default_factory=dict)
    """`responseFormat`, `jsonSchema` and `tools` for the prompts that it answers."""
    prompts: tuple[str, ...] | None = None
    """Labels of the prompts that it answers; None: all."""


class ProviderReader:
    """Reads the providers of one configuration and notes what can't be imported."""

    def __init__(self, nearby: ImportFolder, notes: Notes) -> None:
        self._nearby = nearby
        self._notes = notes
        self._aliases: set[str] = set()

    def read(self, written: Any, where: Where) -> Provider | None:
        """Return the model of `written`; None if nothing here can call it, which is noted."""
        spec = self._spec(written, where)
        if spec is None:
            return None
        name = str(spec.get("id") or "")
        config = mapping(spec.get("config"))
        try:
            fields = _address(name)
        except NotCarried as error:
            self._notes.take(where(), f"the provider {name!r}", error)
            return None
        if ":responses:" in name:
            why = "chat completions are called, not the responses API"
            self._notes.changed(where(), f"the provider {name!r}", why, "nothing, mostly")
        at_config: Where = lambda *place: where("config", *place)  # noqa: E731 - a line's address
        fields |= self._connection(config, at_config)
        if parameters := self._parameters(config, at_config):
            fields["modelParameters"] = parameters
        for part in sorted(set(spec) - PARTS):
            what, why = f"'{part}' of {name!r}", "it belongs to promptfoo's runner"
            self._notes.lost(where(part), what, why, "limits of the model, or nothing")
        label = spec.get("label") if isinstance(spec.get("label"), str) else None
        alias = name_for(label or str(fields["model"]).rpartition("/")[2]) or "model"
        alias = free_name(alias, self._aliases)
        self._aliases.add(alias)
        prompts = spec.get("prompts")
        return Provider(
            id=name,
            label=label,
            model=ImportedModel(alias=alias, fields=fields),
            shape=self._shape(config, at_config),
            prompts=tuple(map(str, prompts)) if isinstance(prompts, list) else None,
        )

    def _spec(self, written: Any, where: Where) -> Mapping[str, Any] | None:
        """Return the `{id, config, …}` of any of the forms in which a provider is written."""
        if isinstance(written, str):
            return {"id": written}
        if not isinstance(written, Mapping):
            self._notes.lost(where(), "a provider", "it is no name and no mapping", "write its id")
            return None
        if "id" in written:
            return written
        if len(written) == 1:
            ((name, options),) = written.items()
            return {"id": name, **mapping(options)}
        self._notes.lost(where(), "a provider", "it has no `id`", "name the model")
        return None

    def _parameters(self, config: Mapping[str, Any], where: Where) -> dict[str, Any]:
        parameters: dict[str, Any] = {}
        for setting, value in config.items():
            name = SPELLINGS.get(setting, setting)
            if setting in ADDRESS or name in OF_THE_PROMPT:
                continue
            if name == "reasoning" and isinstance(value, Mapping) and set(value) == {"effort"}:
                name, value = "reasoning_effort", value["effort"]  # noqa: PLW2901 - unwrapped
            why, out = "it is no parameter that every server knows", "`extra_body` of the model"
            if name in WRITTEN:
                try:
                    ModelParameters.model_validate({WRITTEN[name]: value})
                except ValidationError as error:
                    why, out = error.errors()[0]["msg"], "write it under `modelParameters`"
                else:
                    parameters[WRITTEN[name]] = value
                    continue
            self._notes.lost(where(setting), f"the setting '{setting}'", why, out)
        return parameters

    def _connection(self, config: Mapping[str, Any], where: Where) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        base, host = config.get("apiBaseUrl"), config.get("apiHost")
        if isinstance(base, str) or isinstance(host, str):
            url = str(base) if isinstance(base, str) else f"https://{host}/v1"
            if re.fullmatch(r"https?://[^\s{}]+", url):
                fields["base_url"] = url.rstrip("/")
            else:
                at = "apiBaseUrl" if isinstance(base, str) else "apiHost"
                self._notes.lost(where(at), f"'{at}'", f"{url!r} is no URL", "`base_url`")
        if isinstance(config.get("apiKeyEnvar"), str):
            fields["api_key_env"] = config["apiKeyEnvar"]
        if "apiKey" in config:
            variable = _variable(config["apiKey"])
            if variable is not None:
                fields["api_key_env"] = variable
            else:
                out = "`api_key_env` names its variable"
                why = "a key never stands in a file"
                self._notes.lost(where("apiKey"), "the API key", why, out)
        if headers := self._headers(mapping(config.get("headers")), where):
            fields["headers"] = headers
        if extra := mapping(config.get("passthrough")):
            if _has_template(extra):
                why = "it holds a template, and nothing is filled in there"
                self._notes.lost(where("passthrough"), "'passthrough'", why, "`extra_body`")
            else:
                fields["extra_body"] = dict(extra)
        return fields

    def _headers(self, written: Mapping[str, Any], where: Where) -> dict[str, str]:
        headers: dict[str, str] = {}
        for name, value in written.items():
            text = str(value)
            variable = _variable(text)
            if variable is not None:
                headers[name] = f"env:{variable}"
            elif name.lower() in SECRET_HEADERS or "{{" in text:
                why = "its value is a secret or a template"
                out = "`headers` with env:NAME"
                self._notes.lost(where("headers", name), f"the header '{name}'", why, out)
            else:
                headers[name] = text
        return headers

    def _shape(self, config: Mapping[str, Any], where: Where) -> dict[str, Any]:
        """Return the prompt's share of the settings."""
        shape: dict[str, Any] = {}
        for name in ("response_format", "tools", "functions"):
            written = config.get(name)
            if not written:
                continue
            try:
                value = self._fixed(written)
                if name == "response_format":
                    shape |= _response_format(mapping(value))
                else:
                    shape["tools"] = _tools(value, bare=name == "functions")
            except NotCarried as error:
                self._notes.take(where(name), f"'{name}'", error)
        return shape

    def _fixed(self, written: Any) -> Any:
        """Return a setting, read from its file if it names one. Raises `NotCarried`."""
        value = self._nearby.document(written).data if is_file(written) else written
        if _has_template(value):
            why = "it holds a template, and only messages are filled in"
            raise NotCarried(why, "write the value out")
        return value


class Graders:
    """The models that grade: those of the file's providers, and others that it names."""

    def __init__(self, providers: Sequence[Provider], reader: ProviderReader, where: Where) -> None:
        self._providers = providers
        self._reader = reader
        self._where = where
        self._by_spec: dict[str, str] = {}
        self.models: list[ImportedModel] = []
        """Models of graders that are no providers of the file."""

    def alias(self, written: Any) -> str:
        """Return the model of llmops.yaml that a grader is. Raises `NotCarried`.

        A grader is written as an id or label, as `{id, config}`, or as `{text: grader}` beside
        one for embeddings.
        """
        if isinstance(written, Mapping) and "id" not in written and "text" in written:
            written = written["text"]
        if not written:
            why = "no grading model is named, and a judge is never implied"
            raise NotCarried(why, "`rubric` with `criteria` and `model`")
        name = written.get("id") if isinstance(written, Mapping) else written
        for provider in self._providers:
            if name in (provider.id, provider.label) and not mapping(written).get("config"):
                return provider.model.alias
        key = json.dumps(written, sort_keys=True, default=str)
        if key not in self._by_spec:
            grader = self._reader.read(written, self._where)
            if grader is None:
                out = "name a judge: `rubric` with `criteria` and `model`"
                raise NotCarried(f"its grader {name!r} cannot be called here", out)
            self.models.append(grader.model)
            self._by_spec[key] = grader.model.alias
        return self._by_spec[key]


def _variable(written: Any) -> str | None:
    """Return the environment variable that a value is read from; None if it is not."""
    match = FROM_ENVIRONMENT.fullmatch(str(written))
    return None if match is None else next(filter(None, match.groups()))


def _has_template(value: Any) -> bool:
    return "{{" in json.dumps(value, default=str)


def _address(name: str) -> dict[str, Any]:
    """Return provider, model and URL behind a provider's id. Raises `NotCarried`."""
    vendor, _, rest = name.partition(":")
    mode, _, model = rest.partition(":")
    if "{{" in name:
        raise NotCarried("its id is a template, and files name their models", BY_BASE_URL)
    if mode in NOT_CHAT or any(f"{vendor}:{mode}".endswith(kind) for kind in (":image", ":video")):
        raise NotCarried(f"'{mode}' is no chat model", BY_BASE_URL)
    named = model if mode in MODES else rest
    if not named or vendor not in {"openai", "anthropic", *COMPATIBLE}:
        raise NotCarried("nothing here calls it", BY_BASE_URL)
    if vendor in ("openai", "anthropic"):
        if mode == "completion":
            raise NotCarried("the old completions API is not called", BY_BASE_URL)
        return {"provider": vendor, "model": named}
    url, key = COMPATIBLE[vendor]
    fields = {"provider": "openai", "model": named, "base_url": url}
    return fields if key is None else {**fields, "api_key_env": key}


def _response_format(form: Mapping[str, Any]) -> dict[str, Any]:
    kind = form.get("type")
    if kind in ("json_object", "text"):
        return {"responseFormat": kind}
    wrapped = form if "schema" in form else mapping(form.get("json_schema"))
    schema = wrapped.get("schema")
    if kind == "json_schema" and isinstance(schema, Mapping):
        named = {"name": str(wrapped.get("name", "answer")), "schema": dict(schema)}
        strict = wrapped.get("strict") is True  # OpenAI's default; of a bare schema, ours is true
        return {"responseFormat": "json_schema", "jsonSchema": {**named, "strict": strict}}
    raise NotCarried("it is no response format of OpenAI's", "`responseFormat` and `jsonSchema`")


def _tools(written: Any, *, bare: bool) -> list[dict[str, Any]]:
    """Return tools as they are written; `bare` functions, of the older API, are wrapped."""
    tools = written if isinstance(written, list) else [written]
    tools = [{"type": "function", "function": tool} for tool in tools] if bare else tools
    try:
        return [Tool.model_validate(tool).model_dump(exclude_none=True) for tool in tools]
    except ValidationError:
        why = "they are no functions in OpenAI's shape"
        raise NotCarried(why, "`tools` of the prompt") from None
