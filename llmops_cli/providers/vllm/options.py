"""Read the engine options of a `provider: vllm` model, before anything is started.

Light enough to be used whenever a project is loaded: no vendor, no event loop.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Model

MODULE = "vllm.entrypoints.cli.main"
"""What `python -m` starts where `command` is a Python."""
STARTUP = 600.0
"""Seconds until an engine must be ready: a large model is read from a disk."""
OURS = frozenset(
    {"--host", "--port", "--uds", "--api-key", "--served-model-name", "--lora-modules"}
)
"""Arguments that llmops sets; the same in `args` would contradict it."""
STARTS = ("command", "args", "lora", "startup_timeout")
"""Options that say how an engine is started."""
HARMLESS = frozenset({
    "--block-size", "--cpu-offload-gb", "--data-parallel-size", "--disable-log-stats", "--dtype",
    "--enable-auto-tool-choice", "--enable-chunked-prefill", "--enable-prefix-caching",
    "--enforce-eager", "--generation-config", "--gpu-memory-utilization", "--kv-cache-dtype",
    "--limit-mm-per-prompt", "--load-format", "--max-lora-rank", "--max-loras", "--max-model-len",
    "--max-num-batched-tokens", "--max-num-seqs", "--no-enable-prefix-caching",
    "--pipeline-parallel-size", "--quantization", "--reasoning-parser", "--revision", "--seed",
    "--structured-outputs-config", "--swap-space", "--tensor-parallel-size", "--tokenizer",
    "--tokenizer-mode", "--tool-call-parser",
})  # fmt: skip
"""Arguments with which vLLM runs no custom code. With any other, the command needs trust."""


def check(written: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with a model in llmops.yaml, if anything."""
    for name in STARTS:
        if name in written and "base_url" in written:
            return f"`base_url` names a server that runs, `{name}` how to start one"
    for flag in _flags(written):
        if flag in OURS:
            return f"`args` sets {flag}, which llmops does (`served_name` and `lora` are options)"
    if str(written.get("model", "")).startswith("-"):
        return f"{written['model']!r} is no name of a model"
    if startup_seconds(written) <= 0:
        return "`startup_timeout` is more than 0 seconds"
    return _wrong_name(str(written.get("model")), written)


def runs(model: Model) -> Sequence[str] | None:
    """Return the command that `model` starts, where trust is needed for it; else None."""
    if model.base_url is not None:
        return None
    command = model.options.get("command")
    if command is None and HARMLESS.issuperset(_flags(model.options)):
        return None
    return [str(command or "vllm"), "serve", model.model, *arguments(model.options)]


def program(model: Model, context: PluginContext) -> list[str]:
    """Return the program to start. Raises `Refused` if it is not there."""
    path = context.environ.get("PATH", "")
    named = model.options.get("command")
    if named is None:
        beside = str(Path(sys.executable).parent)
        file = shutil.which("vllm", path=path) or shutil.which("vllm", path=beside)
        if file is None:
            raise Refused(
                f"{model.name}: there is no `vllm` on the PATH to serve {model.model} with",
                hint="pip install 'llmops-cli[vllm]', name one by `command` in llmops.yaml, "
                "or a server that runs by `base_url`",
            )
        return [file]
    command = str(context.root / str(named)) if "/" in str(named) else str(named)
    file = shutil.which(command, path=path)
    if file is None:
        raise Refused(
            f"{model.name}: `command` is {str(named)!r}, and there is no such program",
            hint="the path of a `vllm`, or of a Python that has it",
        )
    return [file, "-m", MODULE] if Path(file).name.startswith("python") else [file]


def ready(model: Model, context: PluginContext) -> str | None:
    """Return the engine that `model` starts, and where its weights are; None: a server runs.

    Raises `Refused` if an engine cannot even be tried, before any call is made.
    """
    if model.base_url is not None:
        return None
    command = shlex.join(
        [*program(model, context), "serve", model.model, *arguments(model.options)]
    )
    weights = [model.model, *adapters(model.options).values()]
    return "; ".join([f"`{command}`", *(_location(model, name, context) for name in weights)])


def _location(model: Model, weights: str, context: PluginContext) -> str:
    """Return where the weights of that name are: a path here, or a Hugging Face repository."""
    place = context.root / weights
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        return f"{weights} is here"
    if weights.startswith(("/", ".")) or place.is_dir():
        raise Refused(
            f"{model.name}: there are no weights at {weights}",
            hint="the folder of a model, or its name at Hugging Face",
        )
    home = Path(context.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(context.environ.get("HF_HUB_CACHE") or home / "hub")
    if any((cache / f"models--{weights.replace('/', '--')}" / "snapshots").glob("*")):
        return f"{weights} is in the cache of Hugging Face"
    return f"{weights} is not on this machine: vllm fetches it first"


def arguments(options: Mapping[str, Any]) -> list[str]:
    """Return `args` as words."""
    args = options.get("args") or ()
    return [str(word) for word in args] if isinstance(args, (list, tuple)) else []


def adapters(options: Mapping[str, Json]) -> Mapping[str, str]:
    """Return the LoRA adapters by name."""
    lora = options.get("lora")
    return {name: str(path) for name, path in lora.items()} if isinstance(lora, Mapping) else {}


def served_name(model: Model) -> str:
    """Return the name that requests use for `model`: its own, or that of an adapter."""
    named = model.options.get("served_name")
    return str(named) if named is not None else next(iter(adapters(model.options)), model.model)


def startup_seconds(options: Mapping[str, Json]) -> float:
    """Return how long an engine may take to start."""
    seconds = options.get("startup_timeout")
    return float(seconds) if isinstance(seconds, (int, float)) else STARTUP


def _wrong_name(model: str, written: Mapping[str, Any]) -> str | None:
    names = list(adapters(written))
    for name in names:
        if name == model or not re.fullmatch(r"[\w./-]+", name):
            return f"the adapter {name!r} in `lora` needs a name of its own, of letters and digits"
    if "base_url" in written:
        return None
    named, known = written.get("served_name"), ", ".join([model, *names])
    if named is None:
        return f"`served_name` says which answers: {known}" if len(names) > 1 else None
    return None if named in {model, *names} else f"`served_name` is {named!r}, and there is {known}"


def _flags(options: Mapping[str, Any]) -> list[str]:
    words = (word for word in arguments(options) if word.startswith("-"))
    flags = [word.partition("=")[0].replace("_", "-") for word in words]
    return [flag for flag in flags if not re.fullmatch(r"-[\d.]+", flag)]
