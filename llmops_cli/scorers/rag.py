"""Opens the scorers of retrieval-augmented answers, which are those of ragas.

Importing ragas takes seconds, so it happens once, when a run has such a scorer to open, and beside
the event loop. ragas sends usage data unless it is told not to before it is imported: it is told.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from anyio import to_thread

from llmops_cli.core.errors import MissingExtra
from llmops_cli.core.ports import OpenScorer, Scorer, World

SILENCE = "RAGAS_DO_NOT_TRACK"


def _opens(module: str, name: str) -> OpenScorer:
    """What opens the scorer `name` of a module that imports ragas."""

    @asynccontextmanager
    async def opened(world: World) -> AsyncIterator[Scorer]:
        del world
        loaded = await to_thread.run_sync(_load, module, name)
        yield cast("Scorer", getattr(loaded, name))

    return opened


def _load(module: str, name: str) -> ModuleType:
    """The module, imported without ragas' telemetry and without its warnings to its own authors."""
    os.environ[SILENCE] = "true"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return import_module(f"llmops_cli.scorers.{module}")
        except ImportError as error:
            raise MissingExtra(f"the scorer {name!r}", extra="ragas") from error


open_faithfulness = _opens("ragas_judged", "faithfulness")
open_answer_relevancy = _opens("ragas_judged", "answer_relevancy")
open_context_precision = _opens("ragas_judged", "context_precision")
open_context_recall = _opens("ragas_judged", "context_recall")
open_factual_correctness = _opens("ragas_judged", "factual_correctness")
open_precision_by_id = _opens("ragas_overlap", "precision_by_id")
open_recall_by_id = _opens("ragas_overlap", "recall_by_id")
open_precision_by_text = _opens("ragas_overlap", "precision_by_text")
open_recall_by_text = _opens("ragas_overlap", "recall_by_text")


def check_overlap(options: Mapping[str, Any], _world: World) -> str | None:
    """What is wrong with the options, before any call."""
    if not options["relevant"]:
        return "`relevant` names nothing that is relevant"
    if not 0 < options.get("threshold", 0.5) <= 1:
        return "`threshold` is above 0 and at most 1"
    return None
