"""What works with each model, as a table, and beneath it why, where something does not."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from llmops_cli.core.probe import ASPECTS, Probed, ProbedModel
from llmops_cli.render.phrases import money, plural
from llmops_cli.render.tables import table

MARKS = {True: "✓", False: "✗", None: "–"}


def probes_table(found: Probed) -> RenderableType:
    """One row per model, one column per aspect."""
    rows = [
        (each.name, *(MARKS[each.of(aspect).works] for aspect in ASPECTS), _first_token(each))
        for each in found.models
    ]
    return table(["model", *ASPECTS, "first token"], rows)


def probe_notes(found: Probed) -> Iterator[str]:
    """Why something does not work or was not asked, and what is worth knowing where it does."""
    for each in found.models:
        said: dict[str, list[str]] = {}
        for probe in each.probes:
            if probe.why and not (probe.works and probe.aspect == "streaming"):
                said.setdefault(probe.why, []).append(probe.aspect)
        for why, aspects in said.items():
            yield f"{each.name}  {', '.join(aspects)}: {why}"


def probe_cost(found: Probed) -> str:
    """What asking took: `spent 2 calls, …`."""
    if not found.calls:
        return "no model was called"
    tokens = f"{found.input_tokens:,} tokens in, {found.output_tokens:,} out"
    return f"spent {plural(found.calls, 'call')}, {tokens}, {money(found.cost)}"


def _first_token(model: ProbedModel) -> str:
    return "" if model.first_token is None else f"{model.first_token:.2f} s"
