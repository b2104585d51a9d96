"""Where what a run measured stands in files, for those who show a finding beside its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmops_cli.core.errors import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The files of prompts and evalsets, and the lines of cases."""

    prompts: Mapping[str, Location] = field(default_factory=dict)
    evalsets: Mapping[str, Location] = field(default_factory=dict)
    cases: Mapping[tuple[str, str], Location] = field(default_factory=dict)
    """By evalset and case id."""
    project: Location | None = None
    """llmops.yaml."""
