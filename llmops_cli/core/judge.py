"""Who answers a judged scorer: a prompt bound to a model, and a model for embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from llmops_cli.core.digest import Json, digest
from llmops_cli.core.prompt import Model, Prompt, StructuredOutput, Target

_KEYED: Mapping[StructuredOutput, Json] = {"json_schema": True, "none": False}
"""How these two stand in a digest, as ever."""

SILENT = Prompt(name="", model="judge", messages=())
"""The prompt of a judge that a library writes the messages for."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The measuring instrument of a judged scorer."""

    target: Target
    embeddings: Model | None = None
    structured: StructuredOutput = "json_schema"
    """What an answer of its model can be held to."""

    @cached_property
    def digest(self) -> str:
        """Names everything in it that can change a score."""
        embedding = Target(prompt=SILENT, model=self.embeddings) if self.embeddings else None
        return digest(
            "llmops/judge/v1",
            {
                "target": self.target.digest,
                "structured": _KEYED.get(self.structured, self.structured),
                "embeddings": embedding.digest if embedding else None,
            },
        )

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model that it asks."""
        return (self.target.model, *([self.embeddings] if self.embeddings else []))
