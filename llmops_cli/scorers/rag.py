"""Opens the scorers of retrieval-augmented answers, which are those of ragas.

Importing ragas takes seconds, so it happens once, when a run has such a scorer to open, and in a
thread beside the event loop. ragas sends usage data unless it is told not to before its import.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from anyio import to_thread

from llmops_cli.core.errors import MissingExtra
from llmops_cli.core.ports import OpenScorer, PluginContext, Scorer


def _opens(name: str) -> OpenScorer:
    """Return what opens the scorer `name` of the module that imports ragas."""

    @asynccontextmanager
    async def opened(context: PluginContext) -> AsyncIterator[Scorer]:
        del context  # ragas needs nothing of the project
        yield await to_thread.run_sync(_load, name)

    return opened


def _load(name: str) -> Scorer:
    """Import ragas without its telemetry and without its warnings to its own authors."""
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from llmops_cli.scorers import ragas_scorers  # noqa: PLC0415 - takes seconds
        except ImportError as error:
            raise MissingExtra(f"the scorer {name!r}", extra="ragas") from error
    return cast("Scorer", getattr(ragas_scorers, name))


open_faithfulness = _opens("faithfulness")
open_answer_relevancy = _opens("answer_relevancy")
open_context_precision = _opens("context_precision")
open_context_recall = _opens("context_recall")
open_factual_correctness = _opens("factual_correctness")
open_context_precision_by_id = _opens("context_precision_by_id")
open_context_recall_by_id = _opens("context_recall_by_id")
open_context_precision_by_text = _opens("context_precision_by_text")
open_context_recall_by_text = _opens("context_recall_by_text")


def check_overlap(options: Mapping[str, Any], _context: PluginContext) -> str | None:
    """Return what is wrong with the options, if anything."""
    if not options["relevant"]:
        return "`relevant` names nothing that is relevant"
    if not 0 < options.get("threshold", 0.5) <= 1:
        return "`threshold` is above 0 and at most 1"
    return None
