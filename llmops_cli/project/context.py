"""The context that the readers of a project's files share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from llmops_cli.core.ports import Catalog, ProviderKind, ScorerKind
from llmops_cli.project.paths import Source

Check: TypeAlias = Callable[[ScorerKind | ProviderKind, Mapping[str, Any]], str | None]
"""Calls the option check of a scorer or provider, beyond the options' types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectContext:
    """What every reader of a project needs: the catalog, the files, and the code that checks."""

    catalog: Catalog
    source: Source
    check: Check | None = None
