"""Refuses code that may not run here and policies that ask for unknown metrics, before any call.

Code of a pull request must not run because the pull request says so. The decision is made by
`core.ci`; this module brings it what the job and the project say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from shutil import which

from llmops_cli.core.ci import CiContext, ci_context, may_run, may_run_code, may_run_command
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import Anchor, Floor, NoWorse, Policy
from llmops_cli.core.prompt import Model
from llmops_cli.core.redact import Redactor
from llmops_cli.gate.comparison import PASS_METRIC
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.workspace import github_event


def vet_job(environ: Mapping[str, str], *, replaying: bool) -> CiContext | None:
    """Return the CI job this is, if any. Raises `Refused` where nothing may run in it."""
    ci = ci_context(environ, github_event(environ))
    why = may_run(ci, replaying=replaying)
    if why is not None:
        raise Refused(why)
    return ci


def vet_scorers(
    scorers: Scorers, *, trusted: Sequence[str], ci: CiContext | None, environ: Mapping[str, str]
) -> None:
    """Raise `Refused` where one of `scorers` is code that may not run."""
    secrets = bool(Redactor.of(environ))
    for kind, path in scorers.code():
        why = may_run_code(path, trusted=trusted, ci=ci, secrets=secrets)
        if why is not None:
            raise Refused(
                f"the scorer {kind!r} may not run: {why}",
                hint=f"a maintainer lists it in llmops.yaml: `trust: [{path}]`",
            )


def vet_models(
    models: Sequence[Model],
    *,
    trusted: Sequence[str],
    ci: CiContext | None,
    environ: Mapping[str, str],
) -> None:
    """Raise `Refused` where one of `models`, each an application of code, may not or cannot run.

    `call` names a function by its file, `run` a program with its arguments.
    """
    secrets = bool(Redactor.of(environ))
    for model in models:
        named = _named(model)
        command = [str(word) for word in _words(model.options.get("run"))]
        code = " ".join(command) or str(model.options.get("call")).partition(":")[0]
        if command:
            why = may_run_command(command, trusted=trusted, ci=ci, secrets=secrets)
        else:
            why = may_run_code(code, trusted=trusted, ci=ci, secrets=secrets)
        if why is not None:
            hint = f"a maintainer lists it in llmops.yaml: `trust: [{code}]`"
            raise Refused(f"{named} may not run: {why}", hint=hint)
        if command and "/" not in command[0] and not which(command[0], path=environ.get("PATH")):
            hint = "install it, or write the path of a program of the project"
            raise Refused(f"{named}: there is no program {command[0]!r} on the PATH", hint=hint)


def vet_commands(
    commands: Iterable[tuple[Model, Sequence[str]]],
    *,
    trusted: Sequence[str],
    ci: CiContext | None,
    environ: Mapping[str, str],
) -> None:
    """Raise `Refused` where a model would start one of `commands`, and it may not run."""
    secrets = bool(Redactor.of(environ))
    for model, command in commands:
        why = may_run_command(command, trusted=trusted, ci=ci, secrets=secrets)
        if why is not None:
            line = " ".join(command)
            hint = f"a maintainer lists it in llmops.yaml: `trust: [{line}]`"
            raise Refused(f"{_named(model)} may not be started: {why}", hint=hint)


def vet_metrics(scorers: Scorers, policy: Policy) -> None:
    """Raise `UnknownName` where a rule of `policy` asks for a metric that no scorer gives."""
    known = [PASS_METRIC, *(metric.label for metric in scorers.metrics)]
    for rule in policy.rules:
        if isinstance(rule, (NoWorse, Anchor, Floor)) and rule.metric not in known:
            raise UnknownName("metric", rule.metric, known)


def _named(model: Model) -> str:
    return f"{model.where}: the model {model.name!r}" if model.where else repr(model.name)


def _words(value: Json) -> Sequence[Json]:
    return value if isinstance(value, (list, tuple)) else ()
