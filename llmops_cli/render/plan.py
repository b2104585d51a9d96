"""Show what a run would call and cost, and what works with each model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from llmops_cli.core.report import ASPECTS, Plan, Probed, PromptPlan, SidePlan
from llmops_cli.render.formatting import money, plural
from llmops_cli.render.renderable import LineWriter, Renderable, grid, table


def console_plan(plan: Plan) -> Renderable:
    """Return the plan of a dry run: both sides of every evalset, then the sum."""

    def draw(writer: LineWriter) -> Iterator[RenderableType]:
        for prompt in plan.prompts:
            yield from _prompt(writer, prompt)
            yield Text()
        yield writer.joined(("would call: ", "dim"), (cost_sentence(plan), "bold"))
        for note in plan.notes:
            yield writer.note(note)

    return Renderable(draw)


def cost_sentence(plan: Plan) -> str:
    """Return `300 calls, at most about $0.12`; with a remark where a price is not known."""
    if not plan.calls:
        return "0 calls (all cached)"
    price = "price unknown" if plan.cost is None else f"at most about {money(plan.cost)}"
    return f"{plural(plan.calls, 'call')}, {price}"


def _prompt(writer: LineWriter, prompt: PromptPlan) -> Iterator[RenderableType]:
    against = prompt.baseline or "nothing: there is no baseline"
    yield writer.joined((prompt.candidate, "bold"), ("  against  ", "dim"), (against, "bold"))
    for evalset in prompt.evalsets:
        trials = f" × {evalset.repeats} trials" if evalset.repeats != 1 else ""
        yield writer.line(f"{evalset.evalset}: {plural(evalset.cases, 'case')}{trials}")
        yield _sides(writer, evalset.sides)
        if evalset.scores:
            scores = plural(evalset.scores, "cached answer")
            yield writer.line(f"  {scores} to score again", "dim")
        for judging in evalset.judging:
            calls = f"at most {plural(judging.calls, 'call')} of {judging.model}"
            cost = money(judging.cost)
            yield writer.line(f"  {judging.label}: {calls} as {judging.role}, {cost}", "dim")
        yield Padding(writer.line(evalset.shows, "dim"), (0, 0, 0, 2))
    for note in prompt.notes:
        yield writer.note(note)


def _sides(writer: LineWriter, sides: Sequence[SidePlan]) -> RenderableType:
    rows: list[Sequence[str | tuple[str, str]]] = []
    for side in sides:
        counts = (f"{count:,}" for count in (side.planned, side.cached, side.calls))
        rows.append((f"  {side.role}", side.model, *counts, money(side.cost) if side.calls else ""))
        if side.unanswerable:
            lacking = plural(side.unanswerable, "trial")
            rows.append([(f"  {lacking} that nothing can answer", "magenta")])
    headers = ("  side", "model", "trials", "cached", "calls", "cost")
    return grid(writer, headers, rows, right=range(2, 6))


MARKS = {True: "✓", False: "✗", None: "–"}


def probes_table(probed: Probed) -> Renderable:
    """Return one row per model, one column per aspect."""
    rows = [
        (
            model.name,
            *(MARKS[model.of(aspect).works] for aspect in ASPECTS),
            "" if model.first_token is None else f"{model.first_token:.2f} s",
        )
        for model in probed.models
    ]
    return table(["model", *ASPECTS, "first token"], rows)


def probe_lines(probed: Probed) -> Iterator[str]:
    """Return why something does not work or was not tried, and what the requests cost."""
    for model in probed.models:
        aspects: dict[str, list[str]] = {}
        for probe in model.probes:
            if probe.why and not (probe.works and probe.aspect == "streaming"):
                aspects.setdefault(probe.why, []).append(probe.aspect)
        for why, names in aspects.items():
            yield f"note: {model.name}  {', '.join(names)}: {why}"
    if not probed.calls:
        yield "no model was called"
        return
    tokens = f"{probed.input_tokens:,} tokens in, {probed.output_tokens:,} out"
    yield f"spent {plural(probed.calls, 'call')}, {tokens}, {money(probed.cost)}"
