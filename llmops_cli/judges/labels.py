"""Find the scorer that labels are about, and write drafts of answers for people to label.

A draft is a sample of answers that both sides gave already; nothing is called. The sample depends
on the answers' digests alone: if it depended on the judge's scores, the judge's mistakes would be
counted among answers that they selected. People do not see the judge's scores either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from llmops_cli.core.digest import digest, short
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.prompt import Evalset, ScorerSpec
from llmops_cli.core.result import Metric
from llmops_cli.project.labels import UnlabeledAnswer, draft
from llmops_cli.run.comparison import compare_prompts
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.prepare import TrustCheck, prepare
from llmops_cli.run.scorers import BoundScorer
from llmops_cli.run.selection import EvalOptions, Selection
from llmops_cli.run.side import Side, chunks
from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.atomic import write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledScorer:
    """A scorer of an evalset, bound and allowed to run."""

    evalset: Evalset
    bound: BoundScorer

    @property
    def metric(self) -> Metric:
        """How its values are read."""
        return self.bound.metric([self.bound.digest])

    @property
    def address(self) -> str:
        """`evalset:label`."""
        return f"{self.evalset.name}:{self.bound.label}"


def find_scorer(workspace: Workspace, address: str) -> LabeledScorer:
    """Return the scorer at `evalset:label`, or under a label that only one evalset has.

    Raises `UnknownName`, or `Refused` for one that a label of a single answer cannot be about.
    """
    project = workspace.project
    name, colon, label = address.partition(":")
    if not (colon and name in project.evalsets):
        name, label = _evalset_of(workspace, address), address
    evalset = project.evalset(name)
    spec = _spec(evalset, label)
    scorers = workspace.scorers(
        Evalset(name=name, prompts=evalset.prompts, cases=(), scorers=(spec,))
    )
    (bound,) = scorers.all
    if bound.kind.paired:
        raise Refused(f"{label} compares two answers, and a label is about one")
    if bound.kind.live:
        raise Refused(f"{label} measures the time of a call, and a labeled answer has none")
    models = bound.judge.models if bound.judge else ()
    trust = TrustCheck(workspace, models)
    trust.commands(models)
    for bound, path in scorers.code():
        trust.scorer(bound, path)
    return LabeledScorer(evalset=evalset, bound=bound)


def _evalset_of(workspace: Workspace, label: str) -> str:
    labels = {
        name: {spec.label for spec in header.scorers}
        for name, header in workspace.project.evalsets.items()
    }
    names = [name for name in labels if label in labels[name]]
    if len(names) == 1:
        return names[0]
    if names:
        raise Refused(
            f"{len(names)} evalsets have a scorer {label!r}",
            hint=f"name one: {', '.join(f'{name}:{label}' for name in names)}",
        )
    known = [f"{name}:{known}" for name in labels for known in sorted(labels[name])]
    raise UnknownName("scorer", label, known)


def _spec(evalset: Evalset, label: str) -> ScorerSpec:
    """Return the scorer under `label`, of the evalset or of single cases."""
    of_cases = [spec for case in evalset.cases for spec in case.scorers]
    for scorers in (evalset.scorers, of_cases):
        specs = [spec for spec in scorers if spec.label == label]
        if any(spec != specs[0] for spec in specs):
            raise Refused(
                f"{label!r} of {evalset.name} is another scorer on every case",
                hint="give the evalset one scorer with one criterion, and calibrate that",
            )
        if specs:
            return specs[0]
    known = {f"{evalset.name}:{spec.label}" for spec in (*evalset.scorers, *of_cases)}
    raise UnknownName("scorer", f"{evalset.name}:{label}", sorted(known))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The file of answers that was written."""

    address: str
    path: str
    answers: int
    stored: int
    """How many different answers there were to choose from."""
    sides: tuple[str, ...]


def write_draft(workspace: Workspace, scorer: str, path: Path, *, size: int) -> Draft:
    """Write `size` answers, or as many as there are, as rows without a label.

    Raises `Refused` if the file exists, or where no answer is stored.
    """
    if path.exists():
        raise Refused(f"{path} exists already, and may contain labels", hint="name a new file")
    labeled = find_scorer(workspace, scorer)
    by_side = _answers(workspace, labeled.evalset.name)
    stored = sum(map(len, by_side.values()))
    if not stored:
        raise Refused(
            f"no answer of {labeled.evalset.name} is stored here",
            hint=f"llmops eval --evalset {labeled.evalset.name}",
        )
    in_turns = chain.from_iterable(zip_longest(*by_side.values()))
    rows = [row for row in in_turns if row is not None][:size]
    write_text(path, draft(rows, table=path.suffix == ".csv"), redact=workspace.redact)
    return Draft(
        address=labeled.address,
        path=str(path),
        answers=len(rows),
        stored=stored,
        sides=tuple(dict.fromkeys(row.side for row in rows)),
    )


def _answers(workspace: Workspace, evalset: str) -> dict[str, list[UnlabeledAnswer]]:
    """Return the different answers of each side, in an order that says nothing about them."""
    options = EvalOptions(selection=Selection(evalsets=[evalset]))
    comparisons = compare_prompts(workspace, options.selection)
    seen: set[tuple[str, str]] = set()
    by_side: dict[str, list[UnlabeledAnswer]] = {}
    for evalset_run in prepare(workspace, comparisons, options):
        for side in (evalset_run.candidate, *evalset_run.others.values()):
            for key, row in _rows(evalset_run, side):
                if key not in seen:
                    seen.add(key)
                    by_side.setdefault(row.side, []).append(row)
    for rows in by_side.values():
        rows.sort(key=lambda row: digest("llmops/draft/v1", row.id))
    return by_side


def _rows(evalset_run: EvalsetRun, side: Side) -> Iterator[tuple[tuple[str, str], UnlabeledAnswer]]:
    """Yield the answers of `side`, each with what makes it different from others."""
    cases = evalset_run.cases
    for positions in chunks(range(len(cases))):
        for at, completion in side.completions(side.plan.trials(positions)).items():
            if completion.text is None or completion.tool_calls:
                continue
            case = cases[at.case]
            row = UnlabeledAnswer(
                id=f"{case.id}-{short(completion.digest)}",
                case=case,
                side=side.spec.name,
                output=completion.text,
                contexts=case.contexts if completion.contexts is None else completion.contexts,
            )
            yield (case.facts, completion.digest), row
