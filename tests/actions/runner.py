"""A runner of GitHub Actions in a hundred lines: steps run as there, in bash, with its files.

`run:` steps are run for real; other people's actions are stood in for by what their documentation
says that they do (a cache is a folder, an artefact a copy). What a step prints is read for
commands as the runner reads it: `::name …::…` at the start of a line, `##[name]` anywhere.

Of GitHub's `${{ expressions }}` it knows what the files here use: strings, contexts, `==`, `!=`,
`&&`, `||` and the status functions. What is missing is the empty text, as it is there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.git_project import git

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"^\s*::([a-zA-Z-]+)(?:\s+(.*?))?::", re.MULTILINE)
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
TOKEN = re.compile(r"'[^']*'|==|!=|&&|\|\||[()]|[\w.-]+")
OPERATORS = {"&&": "and", "||": "or", **{token: token for token in ("==", "!=", "(", ")")}}
LEGACY = re.compile(r"##\[([a-zA-Z-]+)[^\]]*\]")
PROPERTY = re.compile(r"([a-z]+)=([^,]*)")
DECODED = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")


@dataclass(frozen=True)
class Command:
    """One line that the runner obeys."""

    name: str
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Step:
    """A step that was run, or left out."""

    name: str
    outcome: str
    conclusion: str = ""
    """Its outcome, unless that was a failure that may be."""
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""

    def __post_init__(self) -> None:
        self.conclusion = self.conclusion or self.outcome

    @property
    def commands(self) -> list[Command]:
        """Everything in the log that the runner would obey."""
        obeyed = [
            Command(name, {key: _decoded(value) for key, value in PROPERTY.findall(properties)})
            for name, properties in COMMAND.findall(self.log)
        ]
        return obeyed + [Command(name) for name in LEGACY.findall(self.log)]


@dataclass(kw_only=True)
class Result:
    """A job or an action that was run."""

    success: bool
    steps: list[Step]
    outputs: Mapping[str, str]

    def step(self, name: str) -> Step:
        (step,) = [step for step in self.steps if step.name == name]
        return step

    @property
    def log(self) -> str:
        return "".join(step.log for step in self.steps)

    @property
    def summary(self) -> str:
        return "".join(step.summary for step in self.steps)

    @property
    def annotations(self) -> list[Command]:
        return [
            command
            for step in self.steps
            for command in step.commands
            if command.name in {"error", "warning", "notice"}
        ]


def evaluate(text: str, contexts: Mapping[str, Any], *, success: bool = True) -> Any:
    """The value of one expression, without its `${{ }}`."""
    functions = {
        "always": lambda: True,
        "success": lambda: success,
        "failure": lambda: not success,
        "cancelled": lambda: False,
    }

    def python(match: re.Match[str]) -> str:
        token = match[0]
        if token in OPERATORS or token in functions:
            return f" {OPERATORS.get(token, token)} "
        if token.startswith("'"):
            return token
        value: Any = contexts
        for name in token.split("."):
            value = value.get(name, "") if isinstance(value, Mapping) else ""
        return repr(value)

    assert not TOKEN.sub("", text).strip(), f"no expression: {text!r}"
    return eval(TOKEN.sub(python, text).strip(), functions)  # noqa: S307 - of files of this repository


def interpolate(text: Any, contexts: Mapping[str, Any]) -> str:
    """`text` with every expression in it replaced by its value, as GitHub writes it."""
    if isinstance(text, bool):
        return str(text).lower()
    return EXPRESSION.sub(lambda match: str(evaluate(match[1], contexts)), str(text))


@dataclass(kw_only=True)
class Runner:
    """A machine with one checkout, for one event."""

    workspace: Path
    folder: Path
    """Temporary files, caches and artefacts."""
    event_name: str
    event: Mapping[str, Any]
    ref: str = "refs/heads/main"
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    api: str = "http://127.0.0.1:9"
    run: int = 1

    def action(self, settings: Mapping[str, Any], env: Mapping[str, str] | None = None) -> Result:
        """Our composite action, with the inputs in `settings`."""
        action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        unknown = set(settings) - set(action["inputs"])
        assert not unknown, f"unknown inputs: {unknown}"
        contexts = self._contexts()
        contexts["inputs"] = {
            name: interpolate(settings.get(name, item.get("default", "")), contexts)
            for name, item in action["inputs"].items()
        }
        result = self._steps(action["runs"]["steps"], contexts, env or {})
        result.outputs = self._texts(
            {name: output["value"] for name, output in action["outputs"].items()}, contexts
        )
        return result

    def job(self, workflow: str, name: str, needs: Mapping[str, Any] | None = None) -> Result:
        """A job of a workflow file, without its `if`."""
        document = yaml.safe_load(workflow)
        job = document["jobs"][name]
        contexts = {**self._contexts(), "needs": needs or {}}
        env = {**document.get("env", {}), **job.get("env", {})}
        return self._steps(job["steps"], contexts, self._texts(env, contexts))

    def applies(self, workflow: str, name: str) -> bool:
        """Whether a job's own `if` lets it run."""
        condition = yaml.safe_load(workflow)["jobs"][name].get("if", "true")
        text = str(condition).strip().removeprefix("${{").removesuffix("}}")
        return bool(evaluate(text, self._contexts()))

    @property
    def artefacts(self) -> Path:
        return self.folder / "artefacts" / str(self.run)

    def _contexts(self) -> dict[str, Any]:
        return {
            "github": {
                "event": self.event,
                "event_name": self.event_name,
                "repository": "acme/prompts",
                "ref": self.ref,
                "ref_name": self.ref.rpartition("/")[2],
                "sha": "0" * 40,
                "run_id": str(self.run),
                "run_attempt": "1",
                "token": "ghs_canary_of_the_job",
                "workspace": str(self.workspace),
                "base_ref": "main",
                "action_path": str(ROOT),
            },
            "runner": {"temp": str(self.folder / "temp"), "os": "Linux"},
            "secrets": dict(self.secrets),
            "steps": {},
            "env": {},
        }

    def _steps(
        self, steps: Sequence[Mapping[str, Any]], contexts: dict[str, Any], env: Mapping[str, str]
    ) -> Result:
        done: list[Step] = []
        success = True
        for at, step in enumerate(steps):
            condition = str(step.get("if", "success()"))
            if not re.search(r"\b(always|failure|cancelled|success)\(", condition):
                condition = f"success() && ({condition})"
            name = step.get("name", f"step {at}")
            result = Step(name=name, outcome="skipped")
            if evaluate(condition, contexts, success=success):
                own = {**env, **self._texts(step.get("env", {}), contexts)}
                result = (self._bash if "run" in step else self._uses)(name, step, contexts, own)
            if result.outcome == "failure" and step.get("continue-on-error"):
                result.conclusion = "success"
            if "id" in step:
                contexts["steps"][step["id"]] = vars(result)
            success = success and result.conclusion != "failure"
            done.append(result)
        return Result(success=success, steps=done, outputs={})

    def _bash(
        self, name: str, step: Mapping[str, Any], contexts: dict[str, Any], env: Mapping[str, str]
    ) -> Step:
        temp = self.folder / "temp"
        temp.mkdir(parents=True, exist_ok=True)
        files = {name: temp / f"_{name}" for name in ("output", "step_summary", "env", "path")}
        for path in files.values():
            path.write_text("")
        (temp / "_event.json").write_text(json.dumps(self.event))
        script = temp / "_script.sh"
        script.write_text(interpolate(step["run"], contexts), encoding="utf-8")
        where = interpolate(step.get("working-directory", "."), contexts)
        github = contexts["github"]
        environment = {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            **{name: value for name, value in os.environ.items() if name.startswith("GIT_")},
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.api,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_EVENT_NAME": self.event_name,
            "GITHUB_EVENT_PATH": str(temp / "_event.json"),
            "GITHUB_REPOSITORY": github["repository"],
            "GITHUB_REF": self.ref,
            "GITHUB_SHA": github["sha"],
            "GITHUB_RUN_ID": github["run_id"],
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(temp),
            **{f"GITHUB_{name.upper()}": str(path) for name, path in files.items()},
            **self.env,
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            cwd=self.workspace / where,
            env={**environment, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return Step(
            name=name,
            outcome="failure" if done.returncode else "success",
            outputs=_outputs(files["output"].read_text(encoding="utf-8")),
            log=done.stdout.decode("utf-8"),
            summary=files["step_summary"].read_text(encoding="utf-8"),
        )

    def _uses(
        self, name: str, step: Mapping[str, Any], contexts: dict[str, Any], env: Mapping[str, str]
    ) -> Step:
        settings = self._texts(step.get("with", {}), contexts)
        action = step["uses"].partition("@")[0]
        if action in {"./", "llmops-cli/llmops"}:
            result = self.action({**settings, "version": "none"}, env)
            return Step(
                name=name,
                outcome="success" if result.success else "failure",
                outputs=dict(result.outputs),
                log=result.log,
                summary=result.summary,
            )
        return Step(name=name, outcome="success", outputs=STAND_INS[action](self, settings))

    def _texts(self, values: Mapping[str, Any], contexts: Mapping[str, Any]) -> dict[str, str]:
        return {name: interpolate(value, contexts) for name, value in values.items()}

    def cache_scopes(self) -> list[Path]:
        """Whose caches a run may read: its own ref's, and those of the default branch."""
        every = [self.ref, "refs/heads/main"]
        return [self.folder / "caches" / item.replace("/", "_") for item in every]


def _restore(runner: Runner, settings: Mapping[str, str]) -> dict[str, str]:
    prefixes = [settings["key"], *settings.get("restore-keys", "").split()]
    for prefix in prefixes:
        for scope in runner.cache_scopes():
            alike = [path for path in scope.glob("*") if path.name.startswith(prefix)]
            if alike:
                newest = max(alike, key=lambda item: item.stat().st_mtime_ns)
                target = runner.workspace / settings["path"]
                shutil.copytree(newest, target, dirs_exist_ok=True)
                return {"cache-matched-key": newest.name}
    return {}


def _save(runner: Runner, settings: Mapping[str, str]) -> dict[str, str]:
    entry = runner.cache_scopes()[0] / settings["key"]
    source = runner.workspace / settings["path"]
    if source.exists() and not entry.exists():  # an entry never changes
        shutil.copytree(source, entry)
        os.utime(entry)
    return {}


def _upload(runner: Runner, settings: Mapping[str, str]) -> dict[str, str]:
    patterns = settings["path"].split()
    left_out = {Path(pattern[1:]) for pattern in patterns if pattern.startswith("!")}
    for pattern in (Path(pattern) for pattern in patterns if not pattern.startswith("!")):
        files = pattern.rglob("*") if pattern.is_dir() else [pattern]
        base = pattern if pattern.is_dir() else pattern.parent
        for path in files:
            if path.is_file() and path not in left_out:
                target = runner.artefacts / settings["name"] / path.relative_to(base)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    return {}


def _download(runner: Runner, settings: Mapping[str, str]) -> dict[str, str]:
    source = runner.folder / "artefacts" / settings["run-id"] / settings["name"]
    shutil.copytree(source, runner.workspace / settings["path"], dirs_exist_ok=True)
    return {}


def _checkout(runner: Runner, settings: Mapping[str, str]) -> dict[str, str]:
    """The clone is there already, whole; without `fetch-depth: 0` it is cut off."""
    if settings.get("fetch-depth", "1") != "0":
        tip = git(runner.workspace, "rev-parse", "HEAD")
        (runner.workspace / ".git" / "shallow").write_text(f"{tip}\n")
    return {}


STAND_INS: Mapping[str, Callable[[Runner, Mapping[str, str]], dict[str, str]]] = {
    "actions/checkout": _checkout,
    "actions/setup-python": lambda _runner, _given: {"python-path": sys.executable},
    "actions/cache/restore": _restore,
    "actions/cache/save": _save,
    "actions/upload-artifact": _upload,
    "actions/download-artifact": _download,
}


def _outputs(text: str) -> dict[str, str]:
    """What stands in a file like `GITHUB_OUTPUT`: `name=value`, and `name<<END` with its lines."""
    assignments: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, several, end = line.partition("<<")
        if several and "=" not in name:
            assignments[name] = "\n".join(iter(lines.__next__, end))
        elif line:
            name, _, value = line.partition("=")
            assignments[name] = value
    return assignments


def _decoded(text: str) -> str:
    for code, meaning in DECODED:
        text = text.replace(code, meaning)
    return text
