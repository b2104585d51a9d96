"""Install the tools that `run.py` compares llmops with, each in its own environment.

    python benchmarks/install_peers.py FOLDER

FOLDER/promptfoo holds promptfoo and the Node.js that it asks for (needs `npm`); FOLDER/inspect,
FOLDER/deepeval and FOLDER/pydantic-evals are virtual environments. An installed tool is skipped;
one that can't be installed is reported and left out. Takes minutes and about 3 GB, nearly all of it
promptfoo's.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

PROMPTFOO = ["promptfoo@0.123.1", "node@22"]
PYTHON = {
    "inspect": ["inspect_ai==0.3.285", "openai>=3.3,<4"],
    "deepeval": ["deepeval==4.3.1", "openai>=3.3,<4"],
    "pydantic-evals": ["pydantic-evals==2.62.0", "openai>=3.3,<4"],
}
"""The packages of each environment; the first is the tool."""


def main() -> None:
    """Install what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, commands in {
        "promptfoo": _promptfoo(folder / "promptfoo"),
        **{name: _python(folder / name, wanted) for name, wanted in PYTHON.items()},
    }.items():
        _install(folder / name, commands)


def _promptfoo(place: Path) -> list[list[str]]:
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    return [["npm", "install", "--prefix", str(place), *quiet, *PROMPTFOO]]


def _python(place: Path, wanted: list[str]) -> list[list[str]]:
    return [[str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted]]


def _install(place: Path, commands: list[list[str]]) -> None:
    if place.exists():
        print(f"{place}: there already")
        return
    started = time.monotonic()
    if commands[0][0] != "npm":
        venv.create(place, with_pip=True)
    place.mkdir(exist_ok=True)
    try:
        for command in commands:
            subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(place)
        print(f"{place}: left out: {error}", file=sys.stderr)
        return
    print(f"{place}: installed in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
