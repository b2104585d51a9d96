"""Code of the project is imported only where `trust` names it."""

from __future__ import annotations

import os
import py_compile
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from llmops_cli.core.ports import PluginContext
from llmops_cli.workers.process import CodeFailure, Message, Worker
from llmops_cli.workers.project_code import located


def answer(root: Path, *trust: str, call: str = "checks/mine.py:mine") -> Message | CodeFailure:
    """What the function answers to one call."""
    context = PluginContext(root=root, environ=dict(os.environ), trust=trust)

    async def main() -> Message | CodeFailure:
        worker = Worker(located(call, context), context, parameters=("text",), largest=10_000)
        try:
            return await worker.call(["an answer"])
        finally:
            await worker.stop()

    return anyio.run(main)


def write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


MINE = "checks/mine.py"
IMPORTS = "from helper import VALUE\ndef mine(text):\n    return VALUE\n"
REFUSED = "ImportError: {} is code of the project, and `trust` in llmops.yaml does not name it"


@pytest.mark.parametrize("path", ["helper.py", "checks/helper.py", "helper/__init__.py"])
def test_a_module_of_the_project_is_imported_only_where_it_is_trusted(
    tmp_path: Path, path: str
) -> None:
    write(tmp_path, {MINE: IMPORTS, path: "VALUE = 1\n"})
    assert answer(tmp_path, "checks/mine.py") == CodeFailure("unloaded", REFUSED.format(path))
    assert answer(tmp_path, "checks/mine.py", path) == {"id": 1, "value": 1}


def test_a_module_that_is_imported_later_needs_trust_as_well(tmp_path: Path) -> None:
    later = "def mine(text):\n    from helper import VALUE\n    return VALUE\n"
    write(tmp_path, {MINE: later, "helper.py": "VALUE = 1\n"})
    message = answer(tmp_path, "checks/*.py")
    assert isinstance(message, dict)
    assert message["raised"] == REFUSED.format("helper.py")


def test_a_file_of_the_project_does_not_shadow_the_library(tmp_path: Path) -> None:
    write(tmp_path, {MINE: "import colorsys\ndef mine(text):\n    return 1\n"})
    assert answer(tmp_path, "checks/mine.py") == {"id": 1, "value": 1}
    write(tmp_path, {"colorsys.py": "raise SystemExit\n"})
    assert answer(tmp_path, "checks/mine.py") == CodeFailure(
        "unloaded", REFUSED.format("colorsys.py")
    )


def test_a_link_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    write(tmp_path, {"other.py": "def mine(text):\n    return 1\n"})
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks/mine.py").symlink_to("../other.py")
    assert answer(tmp_path, "checks/*.py") == CodeFailure("unloaded", REFUSED.format("other.py"))
    assert answer(tmp_path, "other.py") == {"id": 1, "value": 1}


def compiled(source: Path, code: str, target: Path) -> None:
    """Write a cache of `source` that is believed unread, with other `code`."""
    other = source.with_name("other.txt")
    other.write_text(code)
    target.parent.mkdir(parents=True, exist_ok=True)
    py_compile.compile(
        str(other),
        cfile=str(target),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    other.unlink()


@pytest.mark.parametrize("name", ["mine", "helper"])
def test_compiled_code_does_not_stand_in_for_a_trusted_file(tmp_path: Path, name: str) -> None:
    write(tmp_path, {MINE: IMPORTS, "checks/helper.py": "VALUE = 1\n"})
    source = tmp_path / f"checks/{name}.py"
    cache = source.parent / "__pycache__" / f"{name}.{sys.implementation.cache_tag}.pyc"
    compiled(source, "VALUE = 666\ndef mine(text):\n    return VALUE\n", cache)
    assert answer(tmp_path, "checks/*.py") == {"id": 1, "value": 1}


def test_a_module_without_a_source_needs_trust_as_well(tmp_path: Path) -> None:
    write(tmp_path, {MINE: IMPORTS})
    compiled(tmp_path / "helper.py", "VALUE = 666\n", tmp_path / "helper.pyc")
    assert answer(tmp_path, "checks/*.py") == CodeFailure("unloaded", REFUSED.format("helper.pyc"))


def test_what_is_installed_in_an_environment_in_the_project_needs_no_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = tmp_path / ".venv"
    venv.create(environment, symlinks=True)
    python = environment / "bin/python"
    packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (environment / packages / "helper.py").write_text("VALUE = 1\n")
    write(tmp_path, {MINE: IMPORTS})
    monkeypatch.setattr(sys, "executable", str(python))
    assert answer(tmp_path, "checks/mine.py") == {"id": 1, "value": 1}
