"""Opens the scorers of retrieval-augmented answers, which are those of ragas.

Importing ragas takes seconds, so it happens once, when a run has such a scorer to open, and in a
thread beside the event loop. ragas sends usage data unless it is told not to before its import.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any, cast

from anyio import to_thread

from llmops_cli.core.errors import MissingExtra
from llmops_cli.core.ports import OpenScorer, PluginContext, Scorer

NO_TELEMETRY = "RAGAS_DO_NOT_TRACK"


def _judged() -> ModuleType:
    from llmops_cli.scorers import ragas_judged  # noqa: PLC0415 - takes seconds

    return ragas_judged


def _overlap() -> ModuleType:
    from llmops_cli.scorers import ragas_overlap  # noqa: PLC0415 - takes seconds

    return ragas_overlap


def _opens(module: Callable[[], ModuleType], name: str) -> OpenScorer:
    """Return what opens the scorer `name` of a module that imports ragas."""

    @asynccontextmanager
    async def opened(context: PluginContext) -> AsyncIterator[Scorer]:
        del context
        loaded = await to_thread.run_sync(_load, module, name)
        yield cast("Scorer", getattr(loaded, name))

    return opened


def _load(module: Callable[[], ModuleType], name: str) -> ModuleType:
    """Import ragas without its telemetry and without its warnings to its own authors."""
    os.environ[NO_TELEMETRY] = "true"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return module()
        except ImportError as error:
            raise MissingExtra(f"the scorer {name!r}", extra="ragas") from error


open_faithfulness = _opens(_judged, "faithfulness")
open_answer_relevancy = _opens(_judged, "answer_relevancy")
open_context_precision = _opens(_judged, "context_precision")
open_context_recall = _opens(_judged, "context_recall")
open_factual_correctness = _opens(_judged, "factual_correctness")
open_precision_by_id = _opens(_overlap, "precision_by_id")
open_recall_by_id = _opens(_overlap, "recall_by_id")
open_precision_by_text = _opens(_overlap, "precision_by_text")
open_recall_by_text = _opens(_overlap, "recall_by_text")


def check_overlap(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with the options, if anything."""
    if not options["relevant"]:
        return "`relevant` names nothing that is relevant"
    if not 0 < options.get("threshold", 0.5) <= 1:
        return "`threshold` is above 0 and at most 1"
    return None
