"""A file is written wholly or not at all, and no secret goes into it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from llmops_cli.core.errors import Unmeasured
from llmops_cli.stores.atomic import create_bytes, write_bytes, write_text
from tests.unit.stores.values import plain, start_python


def test_folders_are_made_and_old_content_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "report.md"
    for text in ("old", "new"):
        write_text(path, text, redact=plain)
    assert path.read_text() == "new"
    assert [each.name for each in path.parent.iterdir()] == ["report.md"]


@pytest.mark.parametrize(("write", "named"), [(write_bytes, "replace"), (create_bytes, "link")])
def test_content_is_on_the_disk_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, write: Callable[[Path, bytes], None], named: str
) -> None:
    done: list[str] = []

    def seen(_frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called in {os.fsync, os.replace, os.link}:
            done.append(called.__name__)

    sys.setprofile(seen)
    try:
        write(tmp_path / "version.json", b"{}")
    finally:
        sys.setprofile(None)
    assert done == ["fsync", named, "fsync"]


def test_secrets_are_taken_out_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_text(path, "the key is s3cret", redact=lambda text: text.replace("s3cret", "***"))
    assert path.read_text() == "the key is ***"


def test_a_lone_surrogate_does_not_stop_a_report(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_text(path, "a \ud800 b", redact=plain)
    assert path.read_text() == "a ? b"


def test_of_two_writers_of_one_name_one_gets_an_error(tmp_path: Path) -> None:
    create_bytes(tmp_path / "000001.json", b"first")
    with pytest.raises(FileExistsError):
        create_bytes(tmp_path / "000001.json", b"second")
    assert (tmp_path / "000001.json").read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_without_hard_links_takes_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    create_bytes(tmp_path / "000001.json", b"first")
    with pytest.raises(FileExistsError):
        create_bytes(tmp_path / "000001.json", b"second")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"first"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_bytes(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(Unmeasured, match=f"cannot write {path}") as refused:
            write_bytes(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "free disk space" in str(refused.value.hint)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"run.jsonl": b"old"}


def test_a_writer_killed_at_any_moment_leaves_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    script = (
        "import sys; from pathlib import Path; from llmops_cli.stores.atomic import write_bytes\n"
        "for n in range(10**9):\n"
        "    write_bytes(Path(sys.argv[1]), b'%d,' % n * 20_000); print(n, flush=True)\n"
    )
    for wait in (1, 3, 9):
        writer = start_python(script, path)
        assert writer.stdout is not None
        for _ in range(wait):
            writer.stdout.readline()
        writer.kill()
        writer.communicate()
        pieces = path.read_bytes().split(b",")
        assert len(set(pieces[:-1])) == 1
        assert len(pieces) == 20_001
