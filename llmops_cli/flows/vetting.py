"""Everything that can be refused before a call: untrusted code, options that cannot work.

A scorer whose pattern does not compile must not be found out after the answers were paid for,
and code of a pull request must not run because the pull request says so (FAULTS S5).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from llmops_cli.core.case import Case
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles, Location, Problem, Refused
from llmops_cli.core.ports import World
from llmops_cli.core.redact import Redactor
from llmops_cli.core.trust import CiContext, ci_context, may_run, may_run_code
from llmops_cli.flows.scoring import Bound, Scorers
from llmops_cli.registry import wrong_options

SEEN = 20
"""Problems of one scorer that are listed; more of them say nothing new."""


def vet_job(environ: Mapping[str, str], *, replaying: bool) -> CiContext | None:
    """The CI job this is, if any. Raises `Refused` where nothing at all may run in it."""
    ci = ci_context(environ, _event(environ))
    why = may_run(ci, replaying=replaying)
    if why is not None:
        raise Refused(why)
    return ci


def vet_scorers(
    scorers: Scorers,
    cases: Sequence[Case],
    *,
    world: World,
    trusted: Sequence[str],
    ci: CiContext | None,
) -> None:
    """Raises `Refused` for code that may not run, `InvalidFiles` for options that cannot work."""
    secrets = bool(Redactor.of(world.environ))
    for kind, path in scorers.code():
        why = may_run_code(path, trusted=trusted, ci=ci, secrets=secrets)
        if why is not None:
            raise Refused(
                f"the scorer {kind!r} may not run: {why}",
                hint=f"a maintainer lists it in llmops.yaml: `trust: [{path}]`",
            )
    problems = wrong_scorers(scorers, cases, world)
    if problems:
        raise InvalidFiles(problems)


def wrong_scorers(scorers: Scorers, cases: Sequence[Case], world: World) -> list[Problem]:
    """Scorers whose options cannot work, for every case or for single ones."""
    return [each for bound in scorers.all for each in _wrong(bound, cases, scorers, world)]


def _wrong(
    bound: Bound, cases: Sequence[Case], scorers: Scorers, world: World
) -> Iterator[Problem]:
    if bound.kind.check is None:
        return
    if not bound.options.changing:
        why = wrong_options(bound.kind, bound.options.render(cases[0]), world) if cases else None
        if why is not None:
            where = bound.spec.where or Location(path="")
            yield Problem(where=where, message=f"{bound.label}: {why}")
        return
    found = 0
    for case in cases:
        if bound not in scorers.due(case) or found >= SEEN:
            continue
        why = wrong_options(bound.kind, bound.options.render(case), world)
        if why is not None:
            found += 1
            where = case.where or bound.spec.where or Location(path="")
            yield Problem(where=where, message=f"case {case.id!r}: {bound.label}: {why}")


def _event(environ: Mapping[str, str]) -> Mapping[str, Json] | None:
    """GitHub's event payload; None where there is none that can be read."""
    path = environ.get("GITHUB_EVENT_PATH")
    if not path:
        return None
    try:
        event = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return None
    return event if isinstance(event, dict) else None
