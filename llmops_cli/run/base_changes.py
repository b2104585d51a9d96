"""What was asked of a prompt at the base revision, and what a change makes of it.

Policy and trust are those of the base revision. Cases and scorers are those of the change, because
they change with the prompts they are about, and both sides are measured by them. So a weaker
scorer, an edited answer or a case that is critical no longer decides nothing by itself: it is
said. Cases that are gone decide (`coverage`), also with the evalset they stood in.

A branch that is behind its base lacks what the base gained since. That decides as well: where a
branch left is its author's choice, and nobody escapes a newer case by an older branch. But it is
told for what it is, and what mends it is an update of the branch.

What a change makes of the models that answer and judge: their prices, limits and addresses.

They come from the change, as cases do: a new model has a price that the base does not know. But a
price of nothing makes every `cost` rule and every budget hold, so it is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase

from llmops_cli.core.case import Case, Evalset
from llmops_cli.core.case_result import Metric
from llmops_cli.core.errors import InvalidFiles, Refused
from llmops_cli.core.prompt import Limits, Model, Price
from llmops_cli.gate.wording import cases, listed
from llmops_cli.project.project import Project, has_project_file, load_project
from llmops_cli.run.revision import AtRevision, reading
from llmops_cli.run.selection import ResolvedTarget
from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.git import Revision, open_git

THRESHOLDS = ("minimum", "maximum", "negate", "advisory")
"""The parts of a metric that say what passes; which scorer gives its values is the other part."""
DECIDES = ("llmops.yaml", "prompts/", "evalsets/")
"""Where the files stand of which a branch can be behind its base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSnapshot:
    """The evalsets that gated a prompt at the base revision."""

    evalsets: Mapping[str, Evalset] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[Metric]] = field(default_factory=dict)
    """How each of them scored."""
    gained: Mapping[str, Collection[str]] = field(default_factory=dict)
    """The cases among them that came since the branch left the base, by evalset."""
    among_these: str = ""
    """What is said where changes of the base cannot be told from those of the branch."""

    def behind(self, evalset: str) -> frozenset[str]:
        """The cases that the base gained, as they are named in findings about `evalset`."""
        others = (f"{name}/{case}" for name, each in self.gained.items() for case in each)
        return frozenset({*self.gained.get(evalset, ()), *others})

    def ids(self, evalset: str) -> tuple[str, ...]:
        """The cases that `evalset` had."""
        found = self.evalsets.get(evalset)
        return () if found is None else tuple(case.id for case in found.cases)


def where_it_left(workspace: Workspace) -> Project | None:
    """The project where this branch left the base revision; None: it holds all that the base does,
    or nobody knows where that was.
    """
    source = workspace.rules.source
    if workspace.base is None or not isinstance(source, AtRevision):
        return None
    checkout = open_git(workspace.root)
    if checkout is None:
        return None
    try:
        left = checkout.merge_base(workspace.base)
        if _files(left) == _files(source.revision):
            return None
        there = AtRevision(left, left.commit[:12])
        return load_project(workspace.root, workspace.catalog, source=there)
    except Refused:  # a shallow clone, unrelated histories, or files that were not valid then
        return None


def _files(revision: Revision) -> Mapping[str, str]:
    """Git's id of each file there that decides, by path."""
    return {path: blob for path, blob in revision.blobs.items() if path.startswith(DECIDES)}


def asked_then(workspace: Workspace, prompt: str, left: Project | None) -> BaseSnapshot:
    """What gated `prompt` at the base revision: nothing where none was named.

    `left` is the project where the branch left it, if it is behind. Raises `Refused` where what
    stands at the base cannot be read.
    """
    if workspace.base is None:
        return BaseSnapshot()
    rules = workspace.rules
    before = replace(workspace, project=rules)
    with reading(workspace.base):
        loaded = rules.load(rules.evalsets_of(prompt))
        return BaseSnapshot(
            evalsets={each.name: each for each in loaded},
            metrics={each.name: before.scorers(each).metrics for each in loaded},
            gained={} if left is None else _gained(loaded, left, prompt),
            among_these=""
            if left is None
            else f"; this branch is behind {workspace.base}, whose own changes may be among these",
        )


def _gained(base: Iterable[Evalset], left: Project, prompt: str) -> Mapping[str, Collection[str]]:
    """The cases of `base` that did not gate `prompt` in `left`."""
    try:
        then = {each.name: each for each in left.load(left.evalsets_of(prompt))}
    except InvalidFiles:
        return {}
    known = {name: {case.id for case in each.cases} for name, each in then.items()}
    return {
        each.name: frozenset(case.id for case in each.cases) - known.get(each.name, set())
        for each in base
    }


def asked_otherwise(
    workspace: Workspace,
    prompt: str,
    now: Iterable[Evalset],
    then: BaseSnapshot,
    tags: Collection[str],
) -> Iterator[str]:
    """One sentence for each evalset of which more than its wording changed since the base.

    `tags` are those that a rule of the policy speaks of.
    """
    for evalset in now:
        earlier = then.evalsets.get(evalset.name)
        if earlier is None:
            continue
        scorers = workspace.scorers(evalset).metrics
        parts = [
            *_scorers(then.metrics[evalset.name], scorers),
            *_cases(earlier, evalset, tags, then.gained.get(evalset.name, ())),
        ]
        if earlier.repeats != evalset.repeats:
            parts.append(f"repeats {earlier.repeats} → {evalset.repeats}")
        if parts:
            yield (
                f"this change also changes what {evalset.name} asks: {'; '.join(parts)}. "
                f"Both arms are measured by what it asks now{then.among_these}"
            )
    here = workspace.project.evalsets_of(prompt)
    for name, earlier in then.evalsets.items():
        if name not in here:
            own = ", nor does the policy that it had of its own" if earlier.gate else ""
            size = cases(len(earlier.cases))
            if len(then.gained.get(name, ())) == len(earlier.cases):
                yield f"the base gained {name} ({size}) since this branch left: update your branch"
                continue
            yield f"with this change {name} ({size}) gates {prompt} no longer{own}"


def _scorers(then: Sequence[Metric], now: Sequence[Metric]) -> Iterator[str]:
    before, after = ({each.label: each for each in metrics} for metrics in (then, now))
    for label, metric in before.items():
        if label not in after:
            yield f"the scorer {label} is gone"
            continue
        differing = [
            f"{name} {getattr(metric, name)} → {getattr(after[label], name)}"
            for name in THRESHOLDS
            if getattr(metric, name) != getattr(after[label], name)
        ]
        if differing:
            yield f"the scorer {label} has another bar ({', '.join(differing)})"
        if metric.scorer != after[label].scorer:
            yield f"the scorer {label} is another one"
    yield from (f"the scorer {label} is new" for label in after if label not in before)


def _cases(
    then: Evalset, now: Evalset, tags: Collection[str], gained: Collection[str]
) -> Iterator[str]:
    before, after = ({case.id: case for case in each.cases} for each in (then, now))
    lacking = [id_ for id_ in before if id_ not in after]
    gone = [id_ for id_ in lacking if id_ not in gained]
    behind = [id_ for id_ in lacking if id_ in gained]
    yield from _named("not here that the base gained since this branch left it", behind)
    yield from _named("retired", [each for each in gone if each in now.retired])
    yield from _named("removed", [each for each in gone if each not in now.retired])
    added = sum(id_ not in before for id_ in after)
    if added:
        yield f"{cases(added)} added"
    kept = [(before[id_], after[id_]) for id_ in after if id_ in before]
    for what, changed in (
        ("edited", _edited),
        ("critical no longer", _no_longer_critical),
        ("known to fail", _newly_failing),
        ("with other scorers of their own", _own_scorers),
        ("grouped otherwise", _regrouped),
    ):
        yield from _named(what, [new.id for old, new in kept if changed(old, new)])
    retagged = [new.id for old, new in kept if {*old.tags} & {*tags} != {*new.tags} & {*tags}]
    yield from _named("with other tags that a rule names", retagged)


def _named(what: str, found: Sequence[str]) -> Iterator[str]:
    if found:
        yield f"{cases(len(found))} {what} ({listed(tuple(found), at_most=3)})"


def _edited(then: Case, now: Case) -> bool:
    return then.facts != now.facts


def _no_longer_critical(then: Case, now: Case) -> bool:
    return then.critical and not now.critical


def _newly_failing(then: Case, now: Case) -> bool:
    return then.known_failing is None and now.known_failing is not None


def _own_scorers(then: Case, now: Case) -> bool:
    return then.scorers != now.scorers


def _regrouped(then: Case, now: Case) -> bool:
    return then.group != now.group


def gone_with_their_evalset(
    project: Project, prompt: str, then: Mapping[str, Collection[str]]
) -> tuple[str, ...]:
    """Cases that gated `prompt` in evalsets that do so no longer, as `evalset/case`.

    `then` are the ids of each evalset. A case that another evalset took over under its id is not
    gone, nor is one that is retired there: by its id, or by the name of its evalset, with all.
    """
    here = project.evalsets_of(prompt)
    left = [name for name in then if name not in here]
    if not left:
        return ()
    loaded = project.load(here)
    retired = {each for evalset in loaded for each in evalset.retired}
    taken_over = {
        case.id
        for evalset in loaded
        for case in evalset.cases
        if case.id not in then.get(evalset.name, ())
    }
    return tuple(
        f"{name}/{case}"
        for name in left
        if name not in retired
        for case in then[name]
        if case not in taken_over and not {case, f"{name}/{case}"} & retired
    )


def no_longer_gated(workspace: Workspace, wanted: Sequence[str], left: Project | None) -> list[str]:
    """The prompts among `wanted` (none: all) that the base gates and that are not here any more.

    Raises `Refused` for one that is still here, and that the change takes its evalsets from; or
    that the base gave them, since this branch left it (`left`).
    """
    if workspace.base is None:
        return []
    project, rules = workspace.project, workspace.rules
    lost = [
        name
        for name in rules.prompts
        if rules.evalsets_of(name)
        and not project.evalsets_of(name)
        and (not wanted or any(fnmatchcase(name, each.partition("@")[0]) for each in wanted))
    ]
    for name in lost:
        if name in project.prompts:
            evalsets = ", ".join(rules.evalsets_of(name))
            if left is not None and not left.evalsets_of(name):
                raise Refused(
                    f"nothing gates {name} here: {workspace.base} gained {evalsets} since this "
                    "branch left it",
                    hint=f"update your branch: git merge {workspace.base}",
                )
            raise Refused(
                f"nothing gates {name} any more: at {workspace.base}, {evalsets} did",
                hint="give it an evalset, or remove the prompt with it; where nothing shall gate "
                "it, name the prompts to measure",
            )
    return [
        f"{name} is not here, which {workspace.base} gained since this branch left it: update your "
        "branch"
        if left is not None and name not in left.prompts
        else f"{name} is gone, which {', '.join(rules.evalsets_of(name))} gated at {workspace.base}"
        for name in lost
    ]


def models_otherwise(
    workspace: Workspace, evalsets: Iterable[Evalset], *sides: ResolvedTarget | None
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
    kinds = (
        ("cached", price.cached_input),
        ("cache write", price.cache_write),
        ("1h cache write", price.cache_write_1h),
    )
    cached = "".join(f", {rate:g} {kind}" for kind, rate in kinds if rate is not None)
    return f"${price.input:g} in, ${price.output:g} out{cached} per million tokens"
