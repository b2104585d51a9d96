"""Shows what a run would need, hold and call, before a cent is spent.

What works with each model, as a table, and beneath it why, where something does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llmops_cli.core.plan import ASPECTS, Plan, Probed, ProbedModel, PromptPlan, SidePlan
from llmops_cli.render import formatting as phrases
from llmops_cli.render.formatting import money, plural
from llmops_cli.render.renderable import Pen, Sheet
from llmops_cli.render.tables import table


def console_plan(plan: Plan) -> RenderableType:
    """The plan of a dry run: per prompt and evalset the sides, then the sum."""
    return Sheet(partial(_plan, plan))


def cost_sentence(plan: Plan) -> str:
    """`300 calls, at most about $0.12`; says so where a price is not known."""
    if not plan.calls:
        return "no call is needed: everything is held"
    price = "price unknown" if plan.cost is None else f"at most about {phrases.money(plan.cost)}"
    return f"{phrases.plural(plan.calls, 'call')}, {price}"


def _plan(plan: Plan, pen: Pen) -> Iterator[RenderableType]:
    for prompt in plan.prompts:
        yield from _prompt(pen, prompt)
        yield Text()
    yield pen.joined(("would call  ", "dim"), (cost_sentence(plan), "bold"))
    for note in plan.notes:
        yield pen.joined(("note  ", "yellow"), note)


def _prompt(pen: Pen, prompt: PromptPlan) -> Iterator[RenderableType]:
    against = prompt.baseline or "nothing: there is no baseline"
    yield pen.joined((prompt.candidate, "bold"), ("  against  ", "dim"), (against, "bold"))
    for evalset in prompt.evalsets:
        trials = f" × {evalset.repeats} draws" if evalset.repeats != 1 else ""
        yield pen.line(f"{evalset.evalset}: {phrases.plural(evalset.cases, 'case')}{trials}")
        yield _sides(pen, evalset.sides)
        if evalset.scores:
            scores = phrases.plural(evalset.scores, "stored answer")
            yield pen.line(f"  {scores} to score again", "dim")
        for each in evalset.judging:
            calls = phrases.plural(each.calls, "call")
            said = f"  {each.label}: at most {calls} of {each.model} as {each.role}"
            yield pen.line(f"{said}, {phrases.money(each.cost)}", "dim")
        yield Padding(pen.line(evalset.shows, "dim"), (0, 0, 0, 2))
    for note in prompt.notes:
        yield pen.joined(("note  ", "yellow"), note)


def _sides(pen: Pen, sides: tuple[SidePlan, ...]) -> RenderableType:
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place, header in enumerate(("  arm", "model", "needs", "held", "calls", "cost")):
        grid.add_column(header, justify="right" if 2 <= place <= 5 else "left", overflow="fold")
    for side in sides:
        grid.add_row(
            pen.line(f"  {side.role}"),
            pen.line(side.model),
            f"{side.planned:,}",
            f"{side.held:,}",
            f"{side.calls:,}",
            pen.line(phrases.money(side.cost) if side.calls else ""),
        )
        if side.unanswerable:
            lacking = phrases.plural(side.unanswerable, "draw")
            grid.add_row(pen.line(f"  {lacking} that nothing can answer", "magenta"))
    return grid


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
