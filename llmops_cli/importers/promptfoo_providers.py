"""Turns a promptfoo provider into a model of llmops.yaml, with the prompt's share of its settings.

`tools` and `response_format` belong to a prompt here, so they come back beside the model. Keys are
never copied: a configuration that holds one is told to name an environment variable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import ValidationError

from llmops_cli.core.errors import Location
from llmops_cli.importers.base import ImportedModel, NotCarried, Notes, free_name, name_for
from llmops_cli.importers.source import Nearby, is_file, mapping
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
NOT_CHAT = frozenset(
    (
        *("assistant", "realtime", "image", "video", "moderation", "embedding", "embeddings"),
        *("audio", "transcription", "tts", "claude-agent-sdk", "agents", "codex-sdk", "live"),
        *("chatkit",),
    )
)
SPELLINGS: Mapping[str, str] = {
    "maxTokens": "max_tokens",
    "max_output_tokens": "max_completion_tokens",
    "topP": "top_p",
    "topK": "top_k",
    "stop_sequences": "stop",
}
OF_THE_PROMPT = frozenset({"tools", "functions", "response_format"})
ADDRESS = frozenset({"apiBaseUrl", "apiHost", "apiKey", "apiKeyEnvar", "headers", "passthrough"})
PARAMETERS = frozenset(ModelParameters.model_fields)
WRITTEN = {
    name: field.alias or name for name, field in ModelParameters.model_fields.items()
}  # as it stands in a file
KEY_FROM_ENV = re.compile(r"\{\{\s*env\.(\w+)\s*\}\}|\$\{?(\w+)\}?|env:(\w+)")
OTHER_PARTS = frozenset({"id", "label", "config", "prompts"})

Where: TypeAlias = Callable[..., Location]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A provider that can be called here."""

    id: str
    label: str | None
    model: ImportedModel
    shape: Mapping[str, Any] = field(default_factory=dict)
    """`responseFormat`, `jsonSchema` and `tools` for the prompts that it answers."""
    prompts: tuple[str, ...] | None = None
    """Labels of the prompts that it answers; None: all."""


class ProviderReader:
    """Reads the providers of one configuration; what is lost of them is noted."""

    def __init__(self, nearby: Nearby, notes: Notes) -> None:
        self._nearby = nearby
        self._notes = notes
        self._aliases: dict[str, ImportedModel] = {}

    def read(self, written: Any, where: Where) -> Served | None:
        """The model of `written`; None where nothing here can call it, which is noted."""
        spec = self._spec(written, where)
        if spec is None:
            return None
        name = str(spec.get("id") or "")
        config = mapping(spec.get("config"))
        try:
            fields = _address(name)
            shape = self._shape(config, where)
        except NotCarried as error:
            self._notes.take(where(), f"the provider {name!r}", error)
            return None
        if ":responses:" in name:
            why = "chat completions are called, not the responses API"
            self._notes.changed(where(), f"the provider {name!r}", why, "nothing, mostly")
        fields |= self._connection(config, lambda *at: where("config", *at))
        if parameters := self._parameters(config, lambda *at: where("config", *at)):
            fields["modelParameters"] = parameters
        for part in sorted(set(spec) - OTHER_PARTS):
            why = "it belongs to promptfoo's runner"
            self._notes.lost(
                where(part), f"'{part}' of {name!r}", why, "limits of the model, or nothing"
            )
        label = spec.get("label")
        label = label if isinstance(label, str) else None
        prompts = spec.get("prompts")
        return Served(
            id=name,
            label=label,
            model=self._named(name_for(label or str(fields["model"]).rpartition("/")[2]), fields),
            shape=shape,
            prompts=tuple(map(str, prompts)) if isinstance(prompts, list) else None,
        )

    def _spec(self, written: Any, where: Where) -> Mapping[str, Any] | None:
        """The `{id, config, …}` of any of the forms in which a provider is written."""
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

    def _named(self, wanted: str, fields: dict[str, Any]) -> ImportedModel:
        alias = free_name(wanted or "model", self._aliases)
        model = ImportedModel(alias=alias, fields=fields)
        self._aliases[alias] = model
        return model

    def _parameters(self, config: Mapping[str, Any], where: Where) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for written, value in config.items():
            name = SPELLINGS.get(written, written)
            if written in ADDRESS or name in OF_THE_PROMPT:
                continue
            if name == "reasoning" and isinstance(value, Mapping) and set(value) == {"effort"}:
                name, value = "reasoning_effort", value["effort"]  # noqa: PLW2901 - unwrapped
            if name not in PARAMETERS:
                why = "it is no parameter that every server knows"
                out = "`extra_body` of the model, if the server takes it"
                self._notes.lost(where(written), f"the setting '{written}'", why, out)
                continue
            try:
                ModelParameters.model_validate({WRITTEN[name]: value})
            except ValidationError as error:
                said = error.errors()[0]["msg"]
                out = "write it under `modelParameters`"
                self._notes.lost(where(written), f"the setting '{written}'", said, out)
                continue
            found[WRITTEN[name]] = value
        return found

    def _connection(self, config: Mapping[str, Any], where: Where) -> dict[str, Any]:
        found: dict[str, Any] = {}
        base = config.get("apiBaseUrl")
        host = config.get("apiHost")
        if isinstance(base, str) or isinstance(host, str):
            url = str(base) if isinstance(base, str) else f"https://{host}/v1"
            at = "apiBaseUrl" if isinstance(base, str) else "apiHost"
            if re.fullmatch(r"https?://[^\s{}]+", url):
                found["base_url"] = url.rstrip("/")
            else:
                self._notes.lost(where(at), f"'{at}'", f"{url!r} is no URL", "`base_url`")
        if isinstance(config.get("apiKeyEnvar"), str):
            found["api_key_env"] = config["apiKeyEnvar"]
        if "apiKey" in config:
            found |= self._key(str(config["apiKey"]), where)
        if headers := self._headers(mapping(config.get("headers")), where):
            found["headers"] = headers
        if extra := mapping(config.get("passthrough")):
            found["extra_body"] = dict(extra)
        return found

    def _key(self, written: str, where: Where) -> dict[str, Any]:
        named = KEY_FROM_ENV.fullmatch(written)
        if named is not None:
            return {"api_key_env": next(filter(None, named.groups()))}
        why = "a key never stands in a file"
        self._notes.lost(where("apiKey"), "the API key", why, "`api_key_env` names its variable")
        return {}

    def _headers(self, written: Mapping[str, Any], where: Where) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in written.items():
            text = str(value)
            named = KEY_FROM_ENV.fullmatch(text)
            if named is not None:
                found[name] = f"env:{next(filter(None, named.groups()))}"
            elif name.lower() in SECRET_HEADERS or "{{" in text:
                why = "its value is a secret or a template"
                out = "`headers` with env:NAME"
                self._notes.lost(where("headers", name), f"the header '{name}'", why, out)
            else:
                found[name] = text
        return found

    def _shape(self, config: Mapping[str, Any], where: Where) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if config.get("response_format") is not None:
            try:
                found |= _response_format(self._loaded(config["response_format"]))
            except NotCarried as error:
                self._notes.take(where("config", "response_format"), "'response_format'", error)
        for name in ("tools", "functions"):
            if config.get(name):
                try:
                    found["tools"] = _tools(self._loaded(config[name]), bare=name == "functions")
                except NotCarried as error:
                    self._notes.take(where("config", name), f"'{name}'", error)
        return found

    def _loaded(self, value: Any) -> Any:
        return self._nearby.document(value).data if is_file(value) else value


def _address(name: str) -> dict[str, Any]:
    """Provider, model and URL behind a provider's id. Raises `NotCarried`."""
    vendor, _, rest = name.partition(":")
    mode, _, model = rest.partition(":")
    out = "name a model in llmops.yaml; any server that speaks OpenAI's API by its `base_url`"
    if mode in NOT_CHAT or any(f"{vendor}:{mode}".endswith(each) for each in (":image", ":video")):
        raise NotCarried(f"'{mode}' is no chat model", out)
    named = model if mode in MODES else rest
    if not named:
        raise NotCarried("nothing here calls it", out)
    if vendor == "openai":
        if mode == "completion":
            raise NotCarried("the old completions API is not called", out)
        return {"provider": "openai", "model": named}
    if vendor == "anthropic":
        if mode == "completion":
            raise NotCarried("the old completions API is not called", out)
        return {"provider": "anthropic", "model": named}
    if vendor in COMPATIBLE:
        url, key = COMPATIBLE[vendor]
        fields = {"provider": "openai", "model": named, "base_url": url}
        return fields if key is None else {**fields, "api_key_env": key}
    raise NotCarried("nothing here calls it", out)


def _response_format(written: Any) -> dict[str, Any]:
    form = mapping(written)
    kind = form.get("type")
    if kind in ("json_object", "text"):
        return {"responseFormat": kind}
    schema = form.get("schema") or mapping(form.get("json_schema")).get("schema")
    if kind == "json_schema" and isinstance(schema, Mapping):
        return {"responseFormat": "json_schema", "jsonSchema": dict(schema)}
    raise NotCarried("it is no response format of OpenAI's", "`responseFormat` and `jsonSchema`")


def _tools(written: Any, *, bare: bool) -> list[dict[str, Any]]:
    """Tools as they are written; `bare` functions, of the older API, are wrapped."""
    tools = written if isinstance(written, list) else [written]
    tools = [{"type": "function", "function": each} for each in tools] if bare else tools
    try:
        return [Tool.model_validate(each).model_dump(exclude_none=True) for each in tools]
    except ValidationError:
        raise NotCarried(
            "they are no functions in OpenAI's shape", "`tools` of the prompt"
        ) from None
