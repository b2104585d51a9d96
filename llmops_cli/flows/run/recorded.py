"""What a recorded answer is to a run: the same as if it had been called when the run began."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from llmops_cli.core.prompt import Model
from llmops_cli.core.redact import Redactor
from llmops_cli.core.result import Completion
from llmops_cli.engine.entry import entered
from llmops_cli.engine.prices import tariff


def as_called(model: Model, redact: Redactor) -> Callable[[Completion], Completion]:
    """Prices a recorded answer of `model`, dates it now and lets no secret in."""
    price = tariff(model)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")

    def enter(completion: Completion) -> Completion:
        cost, usage = completion.cost, completion.usage
        if cost is None and price is not None and usage is not None:
            cost = price(usage)
        return entered(replace(completion, cost=cost, at=now), redact)

    return enter
