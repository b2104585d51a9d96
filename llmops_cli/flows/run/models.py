"""What a change makes of the models that answer and judge: their prices, limits and addresses.

They come from the change, as cases do: a new model has a price that the base does not know. But a
price of nothing makes every `cost` rule and every budget hold, so it is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from llmops_cli.core.case import Evalset
from llmops_cli.core.prompt import Limits, Model, Price
from llmops_cli.files.project import has_project_file
from llmops_cli.flows.contenders import Contender
from llmops_cli.flows.workspace import Workspace


def models_otherwise(
    workspace: Workspace, evalsets: Iterable[Evalset], *sides: Contender | None
) -> Iterator[str]:
    """One sentence for each model that answers for `sides`, or judges on `evalsets`, and that the
    base revision prices, limits or reaches otherwise.

    Nothing where no base was named, or where the project began after it.
    """
    if workspace.base is None or not has_project_file(workspace.root, workspace.rules.source):
        return
    used = [each.target.model for each in sides if each is not None]
    for evalset in evalsets:
        judges = (each.judge for each in workspace.scorers(evalset).all)
        used += (model for judge in judges if judge is not None for model in judge.models)
    for model in {each.name: each for each in used}.values():
        parts = [*_changes(_then(workspace, model), model)]
        if parts:
            yield (
                f"this change also changes how {model.name} is reckoned and called: "
                f"{', '.join(parts)}. Both arms are reckoned by what it says now"
            )


def _then(workspace: Workspace, model: Model) -> Model | None:
    """The same model at the base, by its alias if that means it there; None: it is new."""
    known = workspace.rules.models.values()
    same = [each for each in known if (each.provider, each.model) == (model.provider, model.model)]
    return next((each for each in same if each.name == model.name), same[0] if same else None)


def _changes(then: Model | None, now: Model) -> Iterator[str]:
    before = None if then is None else then.price
    if before != now.price:
        yield f"price {_price(before)} → {_price(now.price)}"
    if then is None:
        return
    for each in fields(Limits):
        was, is_ = getattr(then.limits, each.name), getattr(now.limits, each.name)
        if was != is_:
            yield f"{each.name} {was} → {is_}"
    if then.base_url != now.base_url:
        yield "another base_url"


def _price(price: Price | None) -> str:
    if price is None:
        return "as its vendor's"
    cached = "" if price.cached_input is None else f", {price.cached_input:g} cached"
    return f"${price.input:g} in, ${price.output:g} out{cached} per million tokens"
