"""Makes `examples/application/.llmops` anew, with the commands that its README tells of.

    python -m tests.remake_application

To be run when the format of the registry changes. The texts of both versions are taken from the
registry that is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

APPLICATION = Path(__file__).parent.parent / "examples" / "application"
PROMPT = Path("support.prompt.yml")
STEPS = {
    1: ["--initial", "-m", "The first version"],
    2: ["-m", "Says so where the help pages have no answer"],
}
"""How each version is promoted."""


def llmops(folder: Path, *arguments: str) -> None:
    """Runs a command as a person would who is nobody in particular, outside any repository."""
    paths = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent.parent)}
    person = {"HOME": str(folder), "USER": "Ada Lovelace <ada@example.org>"}
    command = [sys.executable, "-m", "llmops_cli", *arguments]
    subprocess.run(command, cwd=folder, env={**paths, **person}, check=True, capture_output=True)


def remake(application: Path) -> None:
    """Replaces the registry of `application`; nothing is replaced where a command fails."""
    versions = application / ".llmops" / "versions"
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "application"
        shutil.copytree(application, copy, ignore=shutil.ignore_patterns(".llmops"))
        for number, promotion in STEPS.items():
            source = versions / f"support@v{number}" / "files" / PROMPT
            shutil.copyfile(source, copy / "prompts" / PROMPT)
            llmops(copy, "release", "support")
            llmops(copy, "measure", f"support@v{number}")
            llmops(copy, "promote", f"support@v{number}", *promotion)
        shutil.rmtree(copy / ".llmops" / "store")
        shutil.rmtree(application / ".llmops")
        shutil.copytree(copy / ".llmops", application / ".llmops")


if __name__ == "__main__":
    remake(APPLICATION)
