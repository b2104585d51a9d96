"""A project on disk that a test writes file by file, loaded with the real catalog."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from llmops_cli.core.errors import InvalidFiles
from llmops_cli.core.ports import PluginContext
from llmops_cli.core.prompt import Evalset, Prompt
from llmops_cli.plugins.catalog import catalog, wrong_options
from llmops_cli.project.project import Project, check_project, load_project

PROMPT = """\
model: embedded
inputs:
  question: {type: string}
messages:
  - role: user
    content: "{{ question }}"
"""

EVALSET = """\
cases: support.jsonl
scorers:
  - contains: "{{ expected }}"
"""

CASE = '{"id": "a", "inputs": {"question": "Where?"}, "expected": "here"}\n'


@dataclass(frozen=True)
class Written:
    """A project of one prompt, one evalset and one case, until a test writes something else."""

    root: Path

    def write(self, path: str, content: str | bytes) -> None:
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content.encode() if isinstance(content, str) else content)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def load(self) -> Project:
        return load_project(self.root, catalog())

    def evalset(self, name: str = "support") -> Evalset:
        return self.load().evalset(name)

    def prompt(self, written: str) -> Prompt:
        """The prompt `a`, of a file of that text."""
        self.write("prompts/a.prompt.yml", written)
        return self.load().prompts["a"]

    def wrong(self, path: str, content: str | bytes) -> list[str]:
        """What is wrong once a file of the project has that content."""
        self.write(path, content)
        return self.problems()

    def problems(self) -> list[str]:
        """Everything that is wrong with the project, as `path:line: message (hint)`."""
        context = PluginContext(root=self.root, environ={})
        try:
            check_project(self.root, catalog(), check=partial(wrong_options, context=context))
        except InvalidFiles as error:
            return [str(problem) for problem in error.problems]
        return []


@pytest.fixture
def project(tmp_path: Path) -> Written:
    written = Written(tmp_path / "project")
    written.write("llmops.yaml", "models:\n  embedded: {provider: embedded}\n")
    written.write("prompts/support.prompt.yml", PROMPT)
    written.write("evalsets/support.yaml", EVALSET)
    written.write("evalsets/support.jsonl", CASE)
    return written
