"""The row of the local models: what `provider: vllm` takes, as data."""

from __future__ import annotations

from llmops_cli.core.catalogue import Option, ProviderKind

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
