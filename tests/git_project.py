"""A project under real git whose model is the embedded one: everything runs, nothing is paid.

    shop = a_shop(tmp_path / "shop", "support")
    shop.first()                      # v1 of every prompt runs in production, all is committed
    shop.say("support", "Be kind.")   # another target, the same answers
    shop.ok("release", "support")

Each prompt answers a question with the label of the most similar example; each case asks one of
the examples. `broken=20` gives that many examples a wrong label: as many cases fail.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_cli.cli.main import run
from llmops_cli.stores.registry import Registry
from tests.projects import Process, Project, Result

CASES = 60
LLMOPS_YAML = "models:\n  tiny: {provider: embedded}\nenvironments: [production]\n"


def git(folder: Path, *arguments: str) -> str:
    """What git prints; a failed test where it fails."""
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"git {arguments}: {done.stdout} {done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True)
class GitProject:
    """A checkout of the project."""

    root: Path

    @property
    def registry(self) -> Registry:
        return Registry(self.root)

    def run(self, *arguments: str) -> Result:
        """The program, in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(["-C", str(self.root), *arguments])
        return Result(code=int(code), out=out.getvalue(), err=err.getvalue(), seconds=0)

    def ok(self, *arguments: str) -> Result:
        """The program; a failed test where it does not exit 0."""
        result = self.run(*arguments)
        assert result.code == 0, f"{arguments}: {result.code} {result.text}"
        return result

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, **how: Any) -> Process:
        """The program, in a process of its own."""
        return Project(root=self.root).start(*arguments, env=env, **how)

    def git(self, *arguments: str) -> str:
        return git(self.root, *arguments)

    def write(self, path: str, text: str) -> None:
        Project(root=self.root).write(path, text)

    def say(self, name: str, system: str = "Answer.", *, broken: int = 0) -> None:
        """The prompt `name` with another system message, and `broken` wrong examples."""
        turns: list[dict[str, str]] = []
        for at in range(CASES):
            label = "wrong" if at < broken else f"label{at}"
            turns.append({"role": "user", "content": f"question{at} about topic{at}"})
            turns.append({"role": "assistant", "content": label})
        messages = [
            {"role": "system", "content": system},
            *turns,
            {"role": "user", "content": "{{ question }}"},
        ]
        prompt = {"model": "tiny", "inputs": {"question": {"type": "string"}}, "messages": messages}
        self.write(f"prompts/{name}.prompt.yml", json.dumps(prompt, indent=1))

    def cases(self, name: str, count: int = CASES) -> None:
        lines = [
            {
                "id": f"c{at:02}",
                "inputs": {"question": f"question{at} about topic{at}"},
                "expected": f"label{at}",
            }
            for at in range(count)
        ]
        self.write(f"evalsets/{name}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def evalset(self, name: str, **more: Any) -> None:
        document = {
            "prompt": name,
            "cases": f"{name}.jsonl",
            "scorers": [{"exact": "{{ expected }}"}],
            **more,
        }
        self.write(f"evalsets/{name}.yaml", json.dumps(document, indent=1))

    def commit(self, message: str = "work") -> str:
        """Everything that stands here, committed."""
        self.git("add", "-A")
        self.git("commit", "-qm", message)
        return self.git("rev-parse", "HEAD")

    def first(self, *names: str) -> None:
        """v1 of each prompt runs in production, and all of it is committed."""
        for name in names or sorted(path.name.partition(".")[0] for path in self.prompts()):
            self.ok("release", name)
            self.ok("measure", f"{name}@v1")
            self.ok("promote", f"{name}@v1", "--initial", "-m", "the first")
        self.commit("the first versions")

    def prompts(self) -> list[Path]:
        return list((self.root / "prompts").glob("*.prompt.yml"))

    def candidate(self, name: str, system: str = "Answer kindly.", *, broken: int = 0) -> str:
        """The address of a new version, measured; nothing is committed but the prompt's file."""
        self.say(name, system, broken=broken)
        self.git("add", "prompts")
        self.git("commit", "-qm", f"{name} says: {system}")
        self.ok("release", name)
        number = self.registry.numbers(name)[-1]
        assert self.run("measure", f"{name}@v{number}").code in {0, 1}
        return f"{name}@v{number}"

    def runs(self, name: str, environment: str = "production") -> int:
        """The number of the version that runs."""
        event = self.registry.pointer(environment, name)
        assert event is not None
        assert event.to_version is not None
        return event.to_version.number

    def copy(self, folder: Path) -> GitProject:
        """The same checkout elsewhere."""
        return GitProject(Path(shutil.copytree(self.root, folder, symlinks=True)))

    def clone(self, folder: Path, *how: str) -> GitProject:
        """Another checkout, of what is committed here."""
        git(folder.parent, "clone", "-q", *how, f"file://{self.root}", str(folder))
        return GitProject(folder)


def checkout(bare: Path, name: str, *how: str) -> GitProject:
    """A clone of a shared repository, beside it."""
    git(bare.parent, "clone", "-q", *how, f"file://{bare}", name)
    return GitProject(bare.parent / name)


def make_git_project(root: Path, *names: str) -> GitProject:
    """A project with the prompts `names` and nothing released, committed."""
    root.mkdir(parents=True, exist_ok=True)
    repo = GitProject(root)
    git(root, "init", "-q", "-b", "main")
    repo.write("llmops.yaml", LLMOPS_YAML)
    for name in names:
        repo.say(name)
        repo.cases(name)
        repo.evalset(name)
    repo.commit("a project")
    return repo
