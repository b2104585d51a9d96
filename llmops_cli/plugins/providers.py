"""The row of the local models: what `provider: vllm` takes, as data.

The providers that come with llmops, as data: where their code is and what they promise.

Reading this table imports no vendor; a row's `target` is loaded when a call is really made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmops_cli.core.catalog import Option, ProviderKind
from llmops_cli.providers.offline.embedded import REVISION

VLLM = ProviderKind(
    name="vllm",
    target="llmops_cli.providers.vllm.model:open_vllm",
    summary="A local model: `vllm serve`, started for the command and ended with it, or a "
    "server that runs (`base_url`).",
    structured=True,
    embeds=True,
    check="llmops_cli.providers.vllm.options:check",
    runs="llmops_cli.providers.vllm.options:runs",
    ready="llmops_cli.providers.vllm.options:ready",
    weights=True,
    options={
        "args": Option(
            type=list[str | int | float],
            help="further arguments of `vllm serve`: `[--max-model-len, 8192]`",
            template=False,
        ),
        "lora": Option(
            type=dict[str, str],
            help="LoRA adapters to load, name to folder; the only one answers, of several the one "
            "that `served_name` names",
            template=False,
        ),
        "served_name": Option(
            type=str,
            help="the name to ask for: an adapter's, the model's own beside adapters, or what a "
            "server that runs calls it; default: `model`",
            template=False,
        ),
        "command": Option(
            type=str,
            help="the `vllm` to start, or a Python that has it; default: the one on the PATH",
            template=False,
            keyed=False,
        ),
        "startup_timeout": Option(
            type=float,
            help="seconds until it must be ready; default: 600",
            template=False,
            keyed=False,
        ),
    },
)


_EMBEDDED = ProviderKind(
    name="embedded",
    target="llmops_cli.providers.offline.embedded:open_embedded",
    summary="A small deterministic retrieval model over the prompt itself: no key, no network.",
    deterministic=True,
    offline=True,
    identity=REVISION,
    embeds=True,
)

_REPLAY = ProviderKind(
    name="replay",
    target="llmops_cli.providers.offline.replay:open_replay",
    records="llmops_cli.providers.offline.replay:Recorded",
    volatile=True,
    summary="Recorded answers from a JSONL file: a missing record is never a live call.",
    deterministic=True,
    offline=True,
    options={
        "file": Option(
            type=str,
            help="JSONL file in the project, one record per line",
            required=True,
            template=False,
        ),
        "field": Option(
            type=str,
            help="dotted path to the answer's text in a record; default: text",
            template=False,
        ),
        "by": Option(
            type=Literal["case", "request"],
            help="what finds a record: the case's id (default) or the rendered messages",
            template=False,
        ),
        "id": Option(
            type=str,
            help="dotted path to what finds a record; default: id, or messages by request",
            template=False,
        ),
    },
)

_OPENAI = ProviderKind(
    name="openai",
    target="llmops_cli.providers.openai.model:open_openai",
    summary="OpenAI, and with base_url every server and gateway that speaks its API.",
    structured=True,
    api_key_env="OPENAI_API_KEY",
    embeds=True,
)

_ANTHROPIC = ProviderKind(
    name="anthropic",
    target="llmops_cli.providers.anthropic.model:open_anthropic",
    summary="Claude, by Anthropic's API.",
    structured=True,
    max_tokens=4096,  # the API demands one
    api_key_env="ANTHROPIC_API_KEY",
)

_RESPONSE = Option(
    type=dict[
        Literal[
            "text", "finish_reason", "tool_calls", "contexts", "ids", "usage", "cost",
            "served_model",
        ],
        str,
    ],
    help="where the parts of an answer stand, as JMESPath; default: under these very names",
    template=False,
)  # fmt: skip
_ENV = Option(
    type=list[str],
    help="environment variables that it sees beside PATH, HOME and the like; their values are "
    "taken for secrets",
    template=False,
    keyed=False,
)

_HTTP = ProviderKind(
    name="http",
    target="llmops_cli.providers.application.http:open_http",
    check="llmops_cli.providers.application.config_checks:check_http",
    summary="An application behind a URL (`base_url`), which takes and answers JSON.",
    application=True,
    volatile=True,
    options={
        "method": Option(
            type=Literal["GET", "POST", "PUT"],
            help="default POST; what GET sends stands in the query",
            template=False,
        ),
        "request": Option(
            type=dict[str, Any],
            help="the JSON to send, its texts templates over the inputs, `inputs`, `messages` and "
            "`parameters`; default: these three",
        ),
        "response": _RESPONSE,
        "allow_hosts": Option(
            type=list[str],
            help="hosts of private networks that may be called; loopback may where the URL says so",
            template=False,
            keyed=False,
        ),
    },
)

_PYTHON = ProviderKind(
    name="python",
    target="llmops_cli.providers.application.python:open_python",
    check="llmops_cli.providers.application.config_checks:check_python",
    summary="An application as a function of the project, run in processes of its own.",
    application=True,
    volatile=True,
    code=True,
    files=("call",),
    max_concurrency=4,
    options={
        "call": Option(type=str, help="path/to/file.py:function", required=True, template=False),
        "env": _ENV,
    },
)

_COMMAND = ProviderKind(
    name="command",
    target="llmops_cli.providers.application.command:open_command",
    check="llmops_cli.providers.application.config_checks:check_command",
    summary="An application as a program, run once for every answer.",
    application=True,
    volatile=True,
    code=True,
    files=("run",),
    max_concurrency=4,
    options={
        "run": Option(
            type=list[str],
            help="the program and its arguments; no shell reads them",
            required=True,
            template=False,
        ),
        "output": Option(
            type=Literal["json", "text"],
            help="what it writes: JSON (default), or the text itself",
            template=False,
        ),
        "response": _RESPONSE,
        "env": _ENV,
    },
)

PROVIDERS: Mapping[str, ProviderKind] = {
    row.name: row
    for row in (
        _EMBEDDED,
        _REPLAY,
        _OPENAI,
        _ANTHROPIC,
        _HTTP,
        _PYTHON,
        _COMMAND,
        VLLM,
    )
}
