"""Which scorer `evalset:label` means, bound and allowed to run.

Answers to be labelled by people: a sample of those that both sides gave already. Calls nothing.

The sample hangs on the answers' digests alone: not on what the judge says of them, or its mistakes
would be counted among the answers it was chosen by. The judge's readings are not shown to people
either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, zip_longest
from pathlib import Path

from llmops_cli.core.case import Evalset, ScorerSpec
from llmops_cli.core.case_result import Metric
from llmops_cli.core.digest import digest, short
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.project.labels import Unlabelled, draft
from llmops_cli.run.checks import vet_commands, vet_job, vet_scorers
from llmops_cli.run.comparison import contests
from llmops_cli.run.evalset_run import EvalsetRun
from llmops_cli.run.prepare import SamplingPlan, plan
from llmops_cli.run.scorers import BoundScorer
from llmops_cli.run.selection import Selection
from llmops_cli.run.side import Side, chunks
from llmops_cli.run.workspace import Workspace
from llmops_cli.stores.atomic import write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A scorer of an evalset, ready to be asked."""

    evalset: Evalset
    bound: BoundScorer

    @property
    def metric(self) -> Metric:
        """How its values are read."""
        return self.bound.metric([self.bound.digest])

    @property
    def address(self) -> str:
        return f"{self.evalset.name}:{self.bound.label}"


def find(workspace: Workspace, address: str) -> Found:
    """The scorer that `evalset:label` means, or a label that only one evalset has.

    Raises `UnknownName`, or `Refused` for one that no label of a single answer can speak about.
    """
    project = workspace.project
    name, colon, label = address.partition(":")
    if not (colon and name in project.evalsets):
        name, label = _evalset_of(workspace, address), address
    evalset = project.evalset(name)
    spec = _spec(evalset, label)
    alone = Evalset(name=name, prompts=evalset.prompts, cases=(), scorers=(spec,))
    scorers = workspace.scorers(alone)
    (bound,) = scorers.all
    if bound.kind.paired:
        raise Refused(f"{label} sets two answers against each other, and a label is about one")
    if bound.kind.live:
        raise Refused(f"{label} reads the clock of a call, and a labelled answer has none")
    models = bound.judge.models if bound.judge else ()
    offline = all(workspace.provider(model).offline for model in models)
    ci = vet_job(workspace.environ, replaying=offline)
    trusted, environ = workspace.rules.trust, workspace.environ
    vet_commands(workspace.commands(models), trusted=trusted, ci=ci, environ=environ)
    vet_scorers(scorers, trusted=trusted, ci=ci, environ=environ)
    return Found(evalset=evalset, bound=bound)


def _evalset_of(workspace: Workspace, label: str) -> str:
    evalsets = workspace.project.evalsets
    having = [
        name for name, each in evalsets.items() if label in {spec.label for spec in each.scorers}
    ]
    if len(having) == 1:
        return having[0]
    if having:
        raise Refused(
            f"{len(having)} evalsets have a scorer {label!r}",
            hint=f"say which: {', '.join(f'{name}:{label}' for name in having)}",
        )
    known = [f"{name}:{spec.label}" for name, each in evalsets.items() for spec in each.scorers]
    raise UnknownName("scorer", label, known)


def _spec(evalset: Evalset, label: str) -> ScorerSpec:
    """The scorer under `label`, of the evalset or of single cases."""
    for spec in evalset.scorers:
        if spec.label == label:
            return spec
    own = [spec for case in evalset.cases for spec in case.scorers if spec.label == label]
    alike = [replace(spec, where=None) for spec in own]
    if own and all(spec == alike[0] for spec in alike):
        return own[0]
    if own:
        raise Refused(
            f"{label!r} of {evalset.name} is another scorer on every case",
            hint="give the evalset one scorer with one criterion, and calibrate that",
        )
    known = {
        spec.label for spec in (*evalset.scorers, *(s for c in evalset.cases for s in c.scorers))
    }
    raise UnknownName(
        "scorer", f"{evalset.name}:{label}", [f"{evalset.name}:{each}" for each in known]
    )


TABLE = ".csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """What was written."""

    address: str
    path: str
    answers: int
    held: int
    """Different answers there were to choose from."""
    sides: tuple[str, ...]


def write_draft(workspace: Workspace, scorer: str, path: Path, *, wanted: int) -> Drafted:
    """Writes `wanted` answers, or as many as there are, as labels without a label.

    Raises `Refused` where the file is there already, or where nothing was answered yet.
    """
    if path.exists():
        raise Refused(
            f"{path} is there already: labels are somebody's work", hint="name a new file"
        )
    found = find(workspace, scorer)
    by_side = _answers(workspace, found)
    held = sum(map(len, by_side.values()))
    if not held:
        raise Refused(
            f"no answer on {found.evalset.name} is held here",
            hint=f"llmops eval --evalset {found.evalset.name}",
        )
    turns = zip_longest(*by_side.values())
    rows = [each for turn in turns for each in turn if each is not None][:wanted]
    text = draft(rows, table=path.suffix == TABLE)
    write_text(path, text, redact=workspace.redact)
    return Drafted(
        address=found.address,
        path=str(path),
        answers=len(rows),
        held=held,
        sides=tuple(dict.fromkeys(each.side for each in rows)),
    )


def _answers(workspace: Workspace, found: Found) -> dict[str, list[Unlabelled]]:
    """The different answers of each side, in an order that says nothing about them."""
    selection = Selection(evalsets=[found.evalset.name])
    planned = plan(workspace, contests(workspace, selection), SamplingPlan(now=datetime.now(UTC)))
    seen: set[tuple[str, str]] = set()
    by_side: dict[str, list[Unlabelled]] = {}
    for pairing in planned:
        sides = [pairing.candidate, *pairing.others.values()]
        for key, each in chain.from_iterable(_of(pairing, side) for side in sides):
            if key not in seen:
                seen.add(key)
                by_side.setdefault(each.side, []).append(each)
    for rows in by_side.values():
        rows.sort(key=lambda each: digest("llmops/draft/v1", each.id))
    return by_side


def _of(pairing: EvalsetRun, side: Side) -> Iterator[tuple[tuple[str, str], Unlabelled]]:
    cases = pairing.round.cases
    for positions in chunks(range(len(cases))):
        for at, completion in side.completions(side.trials(positions)).items():
            if completion.text is None or completion.tool_calls:
                continue
            case = cases[at.case]
            contexts = case.contexts if completion.contexts is None else completion.contexts
            yield (
                (case.facts, completion.digest),
                Unlabelled(
                    id=f"{case.id}-{short(completion.digest)}",
                    case=case,
                    side=side.name,
                    output=completion.text,
                    contexts=contexts,
                ),
            )
