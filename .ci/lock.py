"""Write the locks: every package that README's commands and `.ci/run` install, with its hashes.

    pip install uv
    python .ci/lock.py             # after a change to pyproject.toml: other versions stay
    python .ci/lock.py --upgrade   # the newest versions

A lock holds for Python 3.11 to 3.14 on Linux and macOS, and names no package index.
`tests/architecture/test_locks.py` checks, without a network, that the locks fit pyproject.toml.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ("hatchling>=1.27", "editables", "setuptools>=77")
"""What builds llmops and the one dependency that has no wheel, with `--no-build-isolation`."""
RUN, DEV = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
FRAMEWORKS = ROOT / ".ci" / "frameworks.lock"
HEADER = "# Written by .ci/lock.py from pyproject.toml.\n"
BASE = f"-r {RUN.name}\n"


def resolve(lock: Path, *arguments: str, constraint: Path | None = None, upgrade: bool) -> str:
    """Return the pins that uv resolves for pyproject.toml, `lock`'s own versions preferred."""
    command = [
        "uv", "pip", "compile", "pyproject.toml", "-", "--quiet", "--universal",
        "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--output-file", str(lock), *arguments,
    ]  # fmt: skip
    if constraint:
        command += ["--constraint", str(constraint)]
    if upgrade:
        command.append("--upgrade")
    subprocess.run(command, cwd=ROOT, input="\n".join(BUILD), text=True, check=True)
    return lock.read_text(encoding="utf-8")


def pins(text: str) -> list[str]:
    """Return the pins in a lock, each with its lines of hashes."""
    return re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]


def main() -> None:
    """Write the three locks."""
    upgrade = "--upgrade" in sys.argv[1:]
    run = resolve(RUN, upgrade=upgrade)
    RUN.write_text(HEADER + run, encoding="utf-8")
    # The development lock repeats no pin of the first: pip reads both files as one.
    dev = resolve(DEV, "--extra", "dev", constraint=RUN, upgrade=upgrade)
    more = (pin for pin in pins(dev) if pin not in pins(run))
    DEV.write_text(HEADER + BASE + "".join(more), encoding="utf-8")
    frameworks = resolve(FRAMEWORKS, "--extra", "frameworks", upgrade=upgrade)
    FRAMEWORKS.write_text(HEADER + frameworks, encoding="utf-8")


if __name__ == "__main__":
    main()
