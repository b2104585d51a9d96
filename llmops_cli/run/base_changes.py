"""Report what a change alters in the evalsets and models that gate a prompt, compared with the base
revision.

Policy and trust are those of the base revision. Cases and scorers are those of the change, and both
sides are measured by them. A weaker scorer, an edited answer or a case that is no longer critical
doesn't block by itself: it is reported, and if the prompt changes too, the evalset of the base
decides as well (`comparison`). Removed cases block (`coverage`), also those of a removed evalset.
Prices, limits and addresses of models come from the change as well and are reported too, because
with a price of 0 every `cost` rule and every budget passes.

A branch that is behind its base lacks what the base added since. That blocks as well: the author
chooses the branch point, and an older branch must not avoid newer cases. The message says so, and
the fix is to update the branch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase

from llmops_cli.core.errors import InvalidFiles, Refused
from llmops_cli.core.policy import Policy
from llmops_cli.core.prompt import Case, Evalset, Limits, Model, Price
from llmops_cli.core.records import instrument_of
from llmops_cli.core.result import Metric
from llmops_cli.gate.wording import cases, listed
from llmops_cli.plugins.catalog import command_of
from llmops_cli.project.project import Project, has_project_file, load_project
from llmops_cli.run.selection import ResolvedTarget
from llmops_cli.run.workspace import AtRevision, Workspace, reading
from llmops_cli.stores.calibrations import read_here
from llmops_cli.stores.git import Revision, open_git

THRESHOLDS = ("minimum", "maximum", "negate", "advisory")
"""The fields of a metric that decide what passes."""
CASE_CHANGES: Mapping[str, Callable[[Case, Case], bool]] = {
    "edited": lambda old, new: old.facts != new.facts,
    "critical no longer": lambda old, new: old.critical and not new.critical,
    "known to fail": lambda old, new: old.known_failing is None and new.known_failing is not None,
    "with other scorers of their own": lambda old, new: old.scorers != new.scorers,
    "grouped otherwise": lambda old, new: old.group != new.group,
}
"""What can change in a case, and how messages name it."""
GATING_FILES = ("llmops.yaml", "prompts/", "evalsets/")
"""The files whose changes on the base a branch can lack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSnapshot:
    """The evalsets that gated a prompt at the base revision."""

    revision: str | None = None
    """None: none was named."""
    evalsets: Mapping[str, Evalset] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[Metric]] = field(default_factory=dict)
    """The metrics of each evalset, by its name."""
    added_since: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Their cases that the base added since the branch point, by evalset."""
    caveat: str = ""
    """Appended to messages if the difference may include changes of the base."""

    def behind(self, evalset: str) -> frozenset[str]:
        """Return the cases that the branch lacks, as findings about `evalset` name them."""
        others = (f"{name}/{case}" for name, ids in self.added_since.items() for case in ids)
        return frozenset({*self.added_since.get(evalset, ()), *others})

    def lacks(self, evalset: str) -> bool:
        """Return whether `evalset` did not gate the prompt at the base revision."""
        return self.revision is not None and evalset not in self.evalsets

    def lacking(self, evalset: Evalset) -> frozenset[str]:
        """Return the cases that a change adds to an evalset of the base revision."""
        before = {*self.ids(evalset.name)}
        return frozenset(case.id for case in evalset.cases if before and case.id not in before)

    def ids(self, evalset: str) -> tuple[str, ...]:
        """Return the ids of the cases that `evalset` had."""
        before = self.evalsets.get(evalset)
        return () if before is None else tuple(case.id for case in before.cases)


def merge_base(workspace: Workspace) -> Project | None:
    """Return the project at the branch point of this branch and the base revision.

    None: the branch isn't behind its base, or the branch point is unknown.
    """
    source = workspace.rules.source
    if workspace.base is None or not isinstance(source, AtRevision):
        return None
    checkout = open_git(workspace.root)
    if checkout is None:
        return None

    def gating_files(revision: Revision) -> Mapping[str, str]:
        """Return the git id of each relevant file, by path."""
        blobs = {**revision.blobs, **revision.links}
        return {path: blob for path, blob in blobs.items() if path.startswith(GATING_FILES)}

    try:
        left = checkout.merge_base(workspace.base)
        if gating_files(left) == gating_files(source.revision):
            return None
        there = AtRevision(left, left.commit[:12])
        return load_project(workspace.root, workspace.catalog, source=there)
    except Refused:  # a shallow clone, unrelated histories, or files that were not valid then
        return None


def base_snapshot(workspace: Workspace, prompt: str, left: Project | None) -> BaseSnapshot:
    """Return the evalsets that gated `prompt` at the base revision; none without a base.

    `left` is the project at the branch point, if the branch is behind. Raises `Refused` if the
    files at the base cannot be read.
    """
    if workspace.base is None:
        return BaseSnapshot()
    rules = workspace.rules
    at_base = replace(workspace, project=rules)
    with reading(workspace.base):
        loaded = rules.load(rules.evalsets_of(prompt))
        return BaseSnapshot(
            revision=workspace.base,
            evalsets={evalset.name: evalset for evalset in loaded},
            metrics={evalset.name: at_base.scorers(evalset).metrics for evalset in loaded},
            added_since={} if left is None else _added_since(loaded, left, prompt),
            caveat=""
            if left is None
            else f"; this branch is behind {workspace.base}, whose own changes may be among these",
        )


def _added_since(
    base: Iterable[Evalset], left: Project, prompt: str
) -> Mapping[str, Collection[str]]:
    """Return the cases of `base` that did not gate `prompt` in `left`."""
    try:
        loaded = left.load(left.evalsets_of(prompt))
    except InvalidFiles:
        return {}
    known = {evalset.name: {case.id for case in evalset.cases} for evalset in loaded}
    return {
        evalset.name: {case.id for case in evalset.cases} - known.get(evalset.name, set())
        for evalset in base
    }


def evalset_changes(
    workspace: Workspace,
    prompt: str,
    now: Iterable[Evalset],
    base: BaseSnapshot,
    tags: Collection[str],
) -> Iterator[str]:
    """Yield a sentence for each evalset that changed since the base, beyond comments and
    formatting.

    `tags` are those that a rule of the policy names.
    """
    for evalset in now:
        earlier = base.evalsets.get(evalset.name)
        if earlier is None:
            if base.lacks(evalset.name) and prompt in workspace.rules.prompts:
                yield (
                    f"this change adds the evalset {evalset.name} ({cases(len(evalset.cases))}), "
                    "which is decided by itself: it can block, and it weakens no other evalset"
                )
            continue
        scorers = workspace.scorers(evalset).metrics
        parts = [
            *_scorer_changes(base.metrics[evalset.name], scorers),
            *_case_changes(earlier, evalset, tags, base.added_since.get(evalset.name, ())),
        ]
        if earlier.repeats != evalset.repeats:
            parts.append(f"repeats {earlier.repeats} → {evalset.repeats}")
        if parts:
            yield (
                f"this change also changes the evalset {evalset.name}: {'; '.join(parts)}. "
                f"Both sides are measured with the new evalset{base.caveat}"
            )
    here = workspace.project.evalsets_of(prompt)
    for name, earlier in base.evalsets.items():
        size = cases(len(earlier.cases))
        if name in here:
            continue
        if len(base.added_since.get(name, ())) == len(earlier.cases):
            yield f"the base gained {name} ({size}) since this branch left: update your branch"
            continue
        own = ", nor does the policy that it had of its own" if earlier.gate else ""
        yield f"with this change {name} ({size}) gates {prompt} no longer{own}"


def _scorer_changes(old: Sequence[Metric], new: Sequence[Metric]) -> Iterator[str]:
    before, after = ({metric.label: metric for metric in metrics} for metrics in (old, new))
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


def _case_changes(
    old: Evalset, new: Evalset, tags: Collection[str], added_since: Collection[str]
) -> Iterator[str]:
    before, after = ({case.id: case for case in evalset.cases} for evalset in (old, new))
    behind = [id_ for id_ in before if id_ not in after and id_ in added_since]
    gone = [id_ for id_ in before if id_ not in after and id_ not in added_since]
    common = [(before[id_], case) for id_, case in after.items() if id_ in before]
    changes = {
        "not here that the base gained since this branch left it": behind,
        "retired": [id_ for id_ in gone if id_ in new.retired],
        "removed": [id_ for id_ in gone if id_ not in new.retired],
        "added": [id_ for id_ in after if id_ not in before],
    }
    for what, is_changed in CASE_CHANGES.items():
        changes[what] = [case.id for earlier, case in common if is_changed(earlier, case)]
    changes["with other tags that a rule names"] = [
        case.id for earlier, case in common if {*earlier.tags} & {*tags} != {*case.tags} & {*tags}
    ]
    for what, ids in changes.items():
        if ids:
            names = "" if what == "added" else f" ({listed(tuple(ids), at_most=3)})"
            yield f"{cases(len(ids))} {what}{names}"


def removed_with_evalset(
    project: Project, prompt: str, before: Mapping[str, Collection[str]]
) -> tuple[str, ...]:
    """Return cases that gated `prompt` in evalsets that no longer do, as `evalset/case`.

    `before` are the case ids of each evalset. A case that another evalset took over under its id
    is not removed, nor is one that is retired there, by its id or by the name of its evalset.
    """
    here = project.evalsets_of(prompt)
    left = [name for name in before if name not in here]
    if not left:
        return ()
    loaded = project.load(here)
    retired = {name for evalset in loaded for name in evalset.retired}
    taken_over = {
        case.id
        for evalset in loaded
        for case in evalset.cases
        if case.id not in before.get(evalset.name, ())
    }
    return tuple(
        f"{name}/{case}"
        for name in left
        if name not in retired
        for case in before[name]
        if case not in taken_over and not {case, f"{name}/{case}"} & retired
    )


def no_longer_gated(
    workspace: Workspace, selected: Sequence[str], left: Project | None
) -> list[str]:
    """Return notes about prompts among `selected` (none: all) that the base gates and that are
    gone.

    Raises `Refused` for one that is still here and that the change takes its evalsets from, or
    that the base gave evalsets since this branch left it (`left`).
    """
    if workspace.base is None:
        return []
    project, rules = workspace.project, workspace.rules
    ungated = [
        name
        for name in rules.prompts
        if rules.evalsets_of(name)
        and not project.evalsets_of(name)
        and (
            not selected
            or any(fnmatchcase(name, address.partition("@")[0]) for address in selected)
        )
    ]
    for name in ungated:
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
        for name in ungated
    ]


def model_changes(
    workspace: Workspace, evalsets: Iterable[Evalset], *targets: ResolvedTarget | None
) -> Iterator[str]:
    """Yield a sentence for each model that is new, or whose price, limits, address, headers,
    secrets or recorded answers the change alters.

    The models are those that answer for `targets` or judge on `evalsets`. Yields nothing without a
    base, or if the project is newer than the base.
    """
    if workspace.base is None or not has_project_file(workspace.rules.source):
        return
    used = [target.target.model for target in targets if target is not None]
    for evalset in evalsets:
        judges = (bound.judge for bound in workspace.scorers(evalset).all)
        used += (model for judge in judges if judge is not None for model in judge.models)
    by_name = {model.name: model for model in reversed(used)}  # the candidate's counts
    for model in by_name.values():
        known = workspace.rules.models.values()
        same = [m for m in known if (m.provider, m.model) == (model.provider, model.model)]
        # by its alias if possible; without any it is new
        before = next((m for m in same if m.name == model.name), same[0] if same else None)
        parts = [*_changed_settings(before, model)]
        if model.name in workspace.project.models and model.name not in workspace.rules.models:
            parts.append("its name is new")
        if workspace.records_differ(model):
            parts.append(f"other recorded answers ({model.options['file']})")
        if parts:
            yield (
                f"this change also changes how {model.name} is priced and called: "
                f"{', '.join(parts)}. Both sides are priced by what it says now"
            )


def calibration_changes(
    workspace: Workspace, selections: Iterable[tuple[Evalset, Policy]]
) -> Iterator[str]:
    """Yield a sentence for each gating judge whose calibration the change alters."""
    if workspace.base is None:
        return
    for evalset, policy in selections:
        scorers = workspace.scorers(evalset)
        for judge in workspace.gating_judges(evalset.name, scorers, policy):
            file = workspace.calibrations.file_of(instrument_of(judge.metric))
            before, now = workspace.read_at_base(file), read_here(file)
            if before != now:
                change = "adds" if before is None else "changes" if now else "removes"
                yield (
                    f"this change {change} the calibration of {judge.address}, which counts once "
                    f"it is merged: until then, the judge is {judge.summary().status}"
                )


def code_changes(
    workspace: Workspace,
    evalsets: Iterable[Evalset],
    base: BaseSnapshot,
    *targets: ResolvedTarget | None,
) -> Iterator[str]:
    """Yield a sentence that names the trusted files that the change adds, edits or removes.

    Nothing if neither `targets` nor the scorers of `evalsets` run code.
    """
    models = [target.target.model for target in targets if target is not None]
    parts = []
    if any(workspace.scorers(evalset).code() for evalset in evalsets):
        parts.append(f"Scorers run as they are at {workspace.base}, until it is merged")
    if any(
        workspace.provider(model).code or command_of(workspace.provider(model), model)
        for model in models
    ):
        parts.append("Applications run as they are here")
    if parts and (files := workspace.changed_code):
        yield (
            f"this change also changes code that is trusted at {workspace.base}: "
            f"{listed(files, at_most=20)}. {'. '.join(parts)}{base.caveat}"
        )


def _changed_settings(before: Model | None, now: Model) -> Iterator[str]:
    price = None if before is None else before.price
    if price != now.price:
        yield f"price {_price(price)} → {_price(now.price)}"
    if before is None:
        return
    for limit in fields(Limits):
        old, new = getattr(before.limits, limit.name), getattr(now.limits, limit.name)
        if old != new:
            yield f"{limit.name} {old} → {new}"
    if before.base_url != now.base_url:
        yield f"base_url {_address(before.base_url)} → {_address(now.base_url)}"
    if before.variables != now.variables:
        sent = (", ".join(model.variables) or "none" for model in (before, now))
        yield f"variables that it is sent {' → '.join(sent)}"
    if headers := {name for name, _ in before.headers.items() ^ now.headers.items()}:
        yield f"other headers ({', '.join(sorted(headers))})"
    if before.extra_body != now.extra_body:
        yield f"another extra_body ({', '.join(now.extra_body) or 'none'})"


def _address(url: str | None) -> str:
    """Return `url` without a password."""
    return "its vendor's" if url is None else re.sub(r"//[^/?#]*@", "//", url)


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
