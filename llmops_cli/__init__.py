"""The release gate for LLM prompts.

The public Python API, loaded when it is used: `load_prompt` for applications; `load_project`,
`evaluate` and `frame`, a run file as a pandas table, for notebooks and tests; `compare` and
`decide` for your own rows. Everything else is internal.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_cli.commands.evaluate import evaluate
    from llmops_cli.gate.comparison import compare
    from llmops_cli.gate.decide import decide
    from llmops_cli.report.frame import frame
    from llmops_cli.run.selection import EvalOptions
    from llmops_cli.run.workspace import open_project as load_project
    from llmops_cli.runtime import load_prompt

__version__ = "0.1.0"
__all__ = [
    "EvalOptions",
    "__version__",
    "compare",
    "decide",
    "evaluate",
    "frame",
    "load_project",
    "load_prompt",
]

_HOMES = {
    "EvalOptions": ("llmops_cli.run.selection", "EvalOptions"),
    "evaluate": ("llmops_cli.commands.evaluate", "evaluate"),
    "frame": ("llmops_cli.report.frame", "frame"),
    "load_project": ("llmops_cli.run.workspace", "open_project"),
    "compare": ("llmops_cli.gate.comparison", "compare"),
    "decide": ("llmops_cli.gate.decide", "decide"),
    "load_prompt": ("llmops_cli.runtime", "load_prompt"),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
