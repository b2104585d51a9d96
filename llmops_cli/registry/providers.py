"""The providers that come with llmops, as data: where their code is and what they promise.

Reading this table imports no vendor; a row's `target` is loaded when a call is really made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from llmops_cli.core.catalogue import Option, ProviderKind
from llmops_cli.providers.embedded import REVISION
from llmops_cli.registry.vllm import VLLM

_EMBEDDED = ProviderKind(
    name="embedded",
    target="llmops_cli.providers.embedded:open_embedded",
    summary="A small deterministic retrieval model over the prompt itself: no key, no network.",
    deterministic=True,
    offline=True,
    identity=REVISION,
)

_REPLAY = ProviderKind(
    name="replay",
    target="llmops_cli.providers.replay:open_replay",
    records="llmops_cli.providers.replay:Recorded",
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
    target="llmops_cli.providers.openai:open_openai",
    summary="OpenAI, and with base_url every server and gateway that speaks its API.",
    structured=True,
    api_key_env="OPENAI_API_KEY",
)

_ANTHROPIC = ProviderKind(
    name="anthropic",
    target="llmops_cli.providers.anthropic:open_anthropic",
    summary="Claude, by Anthropic's API.",
    structured=True,
    api_key_env="ANTHROPIC_API_KEY",
)

PROVIDERS: Mapping[str, ProviderKind] = {
    row.name: row for row in (_EMBEDDED, _REPLAY, _OPENAI, _ANTHROPIC, VLLM)
}
