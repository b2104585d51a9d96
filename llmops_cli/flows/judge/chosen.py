"""Which scorer `evalset:label` means, bound and allowed to run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmops_cli.core.case import Evalset, ScorerSpec
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.row import Metric
from llmops_cli.flows.run.scoring import Bound
from llmops_cli.flows.run.vetting import vet_commands, vet_job, vet_scorers
from llmops_cli.flows.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A scorer of an evalset, ready to be asked."""

    evalset: Evalset
    bound: Bound

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
