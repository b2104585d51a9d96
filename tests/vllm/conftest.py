"""A real vLLM, a tiny model with an adapter for it, and one engine for all who only ask."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import pytest

from llmops_cli.workers.process import Server
from tests.conftest import VLLM
from tests.projects import Project
from tests.vllm.processes import free_port

STRUCTURED = '{"backend": "xgrammar", "disable_any_whitespace": true}'
ARGUMENTS = [
    "--dtype", "float32", "--max-model-len", "16384", "--enforce-eager", "--max-lora-rank", "8",
    "--max-num-batched-tokens", "16384", "--structured-outputs-config", STRUCTURED,
]  # fmt: skip
"""A whole prompt in one step: on a CPU this vLLM dies of a `seed` with a prompt in several."""
STARTING = 240.0
"""Seconds for an engine to come up on a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Local:
    """What is on this machine."""

    vllm: Path
    models: Path
    """A folder with `model` and `adapter`."""

    @property
    def env(self) -> dict[str, str]:
        """An environment in which llmops finds it."""
        return {
            "PATH": f"{self.vllm.parent}:{os.environ['PATH']}",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "OMP_NUM_THREADS": "1",
        }


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Local:
    assert VLLM is not None
    vllm, folder = Path(VLLM), tmp_path_factory.mktemp("models")
    maker = request.config.rootpath / ".ci" / "vllm" / "make_model.py"
    subprocess.run([vllm.parent / "python", maker, folder], check=True, capture_output=True)
    return Local(vllm=vllm, models=folder)


@pytest.fixture(scope="session")
def served(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an engine that serves `tiny`, and `tuned`, its adapter."""
    port, log = free_port(), tmp_path_factory.mktemp("engine") / "log"
    adapters = ("--enable-lora", "--lora-modules", "tuned=adapter")
    engine = Server(
        [str(local.vllm), "serve", "model", *ARGUMENTS, "--served-model-name", "tiny", *adapters,
         "--host", "127.0.0.1", "--port", str(port)],
        folder=local.models,
        environ={**os.environ, **local.env, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
        log=log,
        redact=str,
    )  # fmt: skip
    try:
        until = time.monotonic() + STARTING
        while not _healthy(port):
            assert engine.ended is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < until, log.read_text(encoding="utf-8")
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        engine.stop()


@pytest.fixture
def project(tmp_path: Path, local: Local) -> Project:
    """An empty project with the model and the adapter in its folder `models`."""
    (tmp_path / "models").symlink_to(local.models)
    return Project(root=tmp_path)


def _healthy(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False
