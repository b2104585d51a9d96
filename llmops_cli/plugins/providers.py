"""The catalog's rows of providers: options, what they promise, and where the code is.

Reading this table imports no vendor; a row's `target` is loaded when a call is really made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmops_cli.core.ports import Option, ProviderKind, fixed

_PARTS = Literal[
    "text", "finish_reason", "tool_calls", "contexts", "ids", "usage", "cost", "served_model"
]
_RESPONSE = fixed(dict[_PARTS, str], "JMESPath of each part of the answer; default: its name")
_ENV = fixed(
    list[str],
    "environment variables to pass, in addition to PATH, HOME and the like; their values are "
    "treated as secrets",
    keyed=False,
)

_ROWS = (
    ProviderKind(
        name="embedded",
        target="llmops_cli.providers.embedded:open_embedded",
        summary="A small deterministic retrieval model over the prompt. No key, no network.",
        deterministic=True,
        offline=True,
        identity="embedded-bm25-1",  # `embedded.REVISION`, which a test compares
        embeds=True,
    ),
    ProviderKind(
        name="replay",
        target="llmops_cli.providers.replay:open_replay",
        records="llmops_cli.providers.replay:Recorded",
        volatile=True,
        summary="Recorded answers from a JSONL file. A missing record is never called.",
        deterministic=True,
        offline=True,
        options={
            "file": fixed(str, "JSONL file in the project, one record per line", required=True),
            "field": fixed(str, "dotted path to the answer's text in a record; default: text"),
            "by": fixed(
                Literal["case", "request"],
                "find a record by the case's id (default) or by the rendered messages",
            ),
            "id": fixed(
                str, "dotted path to that id or those messages in a record; default: id or messages"
            ),
        },
    ),
    ProviderKind(
        name="openai",
        target="llmops_cli.providers.openai.model:open_openai",
        summary="OpenAI, or any server or gateway with its API (`base_url`).",
        structured=True,
        api_key_env="OPENAI_API_KEY",
        embeds=True,
    ),
    ProviderKind(
        name="anthropic",
        target="llmops_cli.providers.anthropic.model:open_anthropic",
        summary="Claude, through Anthropic's API.",
        structured=True,
        max_tokens=4096,  # the API demands one
        api_key_env="ANTHROPIC_API_KEY",
    ),
    ProviderKind(
        name="http",
        target="llmops_cli.providers.application.http:open_http",
        check="llmops_cli.providers.application.checks:check_http",
        summary="An application behind a URL (`base_url`), with JSON requests and responses.",
        application=True,
        volatile=True,
        options={
            "method": fixed(
                Literal["GET", "POST", "PUT"], "default POST; GET sends the document in the query"
            ),
            "request": Option(
                dict[str, Any],
                "the JSON to send; its texts are templates over the inputs, `inputs`, `messages` "
                "and `parameters`; default: these three",
            ),
            "response": _RESPONSE,
            "allow_hosts": fixed(
                list[str],
                "private hosts that may be called; loopback needs no entry if the URL names it",
                keyed=False,
            ),
        },
    ),
    ProviderKind(
        name="python",
        target="llmops_cli.providers.application.code:open_python",
        check="llmops_cli.providers.application.checks:check_python",
        summary="An application that is a function of the project, run in separate processes.",
        application=True,
        volatile=True,
        code=True,
        files=("call",),
        max_concurrency=4,
        options={"call": fixed(str, "path/to/file.py:function", required=True), "env": _ENV},
    ),
    ProviderKind(
        name="command",
        target="llmops_cli.providers.application.code:open_command",
        check="llmops_cli.providers.application.checks:check_command",
        summary="An application that is a program, run once per answer.",
        application=True,
        volatile=True,
        code=True,
        files=("run",),
        max_concurrency=4,
        options={
            "run": fixed(
                list[str], "the program and its arguments, without a shell", required=True
            ),
            "output": fixed(
                Literal["json", "text"],
                "what the program writes: JSON (default) or the answer's text",
            ),
            "response": _RESPONSE,
            "env": _ENV,
        },
    ),
    ProviderKind(
        name="vllm",
        target="llmops_cli.providers.vllm.model:open_vllm",
        summary="A local model: `vllm serve`, started for the command and stopped with it, or a "
        "running server (`base_url`).",
        structured=True,
        embeds=True,
        check="llmops_cli.providers.vllm.options:check",
        runs="llmops_cli.providers.vllm.options:runs",
        api_key_env="VLLM_API_KEY",
        ready="llmops_cli.providers.vllm.options:ready",
        weights=True,
        options={
            "args": fixed(
                list[str | int | float], "arguments for `vllm serve`: `[--max-model-len, 8192]`"
            ),
            "lora": fixed(
                dict[str, str],
                "LoRA adapters to load: names to folders; a single one answers by default, of "
                "several the one named by `served_name`",
            ),
            "served_name": fixed(
                str,
                "name of the adapter or model to call, or a running server's name for it; default: "
                "`model`",
            ),
            "command": fixed(
                str,
                "path of `vllm`, or of a Python that has it; default: `vllm` on the PATH",
                keyed=False,
            ),
            "startup_timeout": fixed(
                float, "seconds until the engine must be ready; default: 600", keyed=False
            ),
        },
    ),
)

PROVIDERS: Mapping[str, ProviderKind] = {row.name: row for row in _ROWS}
"""Providers by their name under `models:`."""
