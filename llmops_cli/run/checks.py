"""Refuses code that may not run here and policies that ask for unknown metrics, before any call.

A pull request must not be able to allow its own code. `core.ci` decides; this module collects the
facts from the job and the project.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shutil import which

from llmops_cli.core.ci import ci_context, may_run, may_run_code, may_run_command
from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused, UnknownName
from llmops_cli.core.policy import Policy, gated_metrics
from llmops_cli.core.prompt import Model
from llmops_cli.core.redact import Redactor
from llmops_cli.gate.comparison import PASS_METRIC
from llmops_cli.run.scorers import Scorers
from llmops_cli.run.workspace import Workspace, github_event


class TrustCheck:
    """Refuses code and commands that may not run in this job."""

    def __init__(self, workspace: Workspace, models: Iterable[Model]) -> None:
        """Read what CI job this is. Raises `Refused` if nothing may run in it.

        `models` are all that may be called: answers that are replayed need no secret.
        """
        environ = workspace.environ
        self._workspace = workspace
        self._trusted = workspace.rules.trust
        self._ci = ci_context(environ, github_event(environ))
        self._secrets = bool(Redactor.of(environ))
        replaying = all(workspace.provider(model).offline for model in models)
        why = may_run(self._ci, replaying=replaying)
        if why is not None:
            raise Refused(why)

    def scorers(self, scorers: Scorers) -> None:
        """Raise `Refused` if one of `scorers` is code that may not run."""
        for kind, path in scorers.code():
            self._refuse(self._code(path), f"the scorer {kind!r} may not run", path)

    def applications(self, models: Iterable[Model]) -> None:
        """Raise `Refused` if one of `models` is an application that may not or cannot run.

        `call` names a function by its file, `run` a program with its arguments.
        """
        for model in models:
            if not self._workspace.provider(model).code:
                continue
            command = [str(word) for word in _words(model.options.get("run"))]
            code = " ".join(command) or str(model.options.get("call")).partition(":")[0]
            why = self._command(command) if command else self._code(code)
            self._refuse(why, f"{_named(model)} may not run", code)
            path = self._workspace.environ.get("PATH")
            if command and "/" not in command[0] and not which(command[0], path=path):
                raise Refused(
                    f"{_named(model)}: there is no program {command[0]!r} on the PATH",
                    hint="install it, or write the path of a program of the project",
                )

    def commands(self, models: Iterable[Model]) -> None:
        """Raise `Refused` if one of `models` starts a command that may not run."""
        for model, command in self._workspace.commands(models):
            why = self._command(command)
            self._refuse(why, f"{_named(model)} may not be started", " ".join(command))

    def _code(self, path: str) -> str | None:
        return may_run_code(path, trusted=self._trusted, ci=self._ci, secrets=self._secrets)

    def _command(self, command: Sequence[str]) -> str | None:
        return may_run_command(command, trusted=self._trusted, ci=self._ci, secrets=self._secrets)

    def _refuse(self, why: str | None, message: str, entry: str) -> None:
        if why is not None:
            hint = f"a maintainer lists it in llmops.yaml: `trust: [{entry}]`"
            raise Refused(f"{message}: {why}", hint=hint)


def vet_metrics(scorers: Scorers, policy: Policy) -> None:
    """Raise `UnknownName` if a rule of `policy` asks for a metric that no scorer gives."""
    known = [PASS_METRIC, *(metric.label for metric in scorers.metrics)]
    for metric in sorted(gated_metrics(policy)):
        if metric not in known:
            raise UnknownName("metric", metric, known)


def _named(model: Model) -> str:
    return f"{model.where}: the model {model.name!r}" if model.where else repr(model.name)


def _words(value: Json) -> Sequence[Json]:
    return value if isinstance(value, (list, tuple)) else ()
