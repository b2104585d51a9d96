"""What code of the project can read of the process that started it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

READER = """
import ctypes, os, subprocess, sys
from pathlib import Path

import anyio

from llmops_cli.core.ports import PluginContext
from llmops_cli.workers.process import run

anyio.run(anyio.run_process, ["true"])  # imports all, before files may be out of reach
if os.geteuid() == 0:  # root reads everything
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as a process that started without root
command = ["cat", f"/proc/{os.getpid()}/environ"]
assert b"sk-parent" in subprocess.run(command, capture_output=True, cwd="/").stdout
result = anyio.run(run, command, b"", PluginContext(root=Path("/"), environ={}), {})
print(result)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux'")
def test_code_of_the_project_cannot_read_the_environment_of_llmops() -> None:
    environ = os.environ | {"OPENAI_API_KEY": "sk-parent"}
    result = subprocess.run(
        [sys.executable, "-c", READER], env=environ, capture_output=True, text=True, check=True
    )
    assert "sk-parent" not in result.stdout
    assert "Permission denied" in result.stdout
