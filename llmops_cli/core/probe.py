"""What a configured model turned out to be able to do, when it was asked the least that tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from llmops_cli.core.errors import ExitCode

Aspect: TypeAlias = Literal[
    "reachable", "chat", "structured", "tools", "usage", "streaming", "embeddings", "price"
]
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One aspect of one model."""

    aspect: Aspect
    works: bool | None
    """None: it does not apply, or could not be asked."""
    why: str = ""
    """What was seen, or why it was not asked, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedModel:
    """One model and everything that was found about it."""

    name: str
    """The alias in llmops.yaml, or `provider/model`."""
    provider: str
    model: str
    probes: tuple[Probe, ...]
    first_token: float | None = None
    """Seconds until the first token, where it streamed."""
    latency: float | None = None
    """Seconds until the end of that short answer."""
    refused: bool = False
    """Its configuration can never work."""

    def of(self, aspect: Aspect) -> Probe:
        """What is known about `aspect`."""
        known = (each for each in self.probes if each.aspect == aspect)
        return next(known, Probe(aspect=aspect, works=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """All models that were asked, and what asking them took."""

    models: Sequence[ProbedModel]
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    """US dollars; None where some of it is unpriced."""

    @property
    def exit_code(self) -> ExitCode:
        """Configuration before the network: it can be mended here."""
        if any(each.refused for each in self.models):
            return ExitCode.REFUSED
        unreached = any(each.of("reachable").works is False for each in self.models)
        return ExitCode.INCOMPLETE if unreached else ExitCode.DONE
