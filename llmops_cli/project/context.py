"""What files are read with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from llmops_cli.core.catalog import Catalog, ProviderKind, ScorerKind
from llmops_cli.project.paths import Source

Check: TypeAlias = Callable[[ScorerKind | ProviderKind, Mapping[str, Any]], str | None]
"""What the code behind a scorer or a model finds wrong with options, beyond their types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What files are read with: what may be named in them, where others are, who else checks."""

    catalog: Catalog
    source: Source
    check: Check | None = None
