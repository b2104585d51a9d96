"""A version on disk: `version.json` with the parsed target, and its source files in `files/`.

The folder appears under its name in one step, complete, and is never changed. Reading checks every
byte against the digests, and that the target rebuilt from the snapshot is the one released.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from llmops_cli.core.digest import InvalidRecord, Json, digest_bytes
from llmops_cli.core.errors import IntegrityBroken, Refused
from llmops_cli.core.prompt import Target
from llmops_cli.core.records import Version, version_from
from llmops_cli.stores.atomic import disk_error, sync_folder, write_bytes
from llmops_cli.stores.codec import from_bytes


def target_of(version: Version) -> Target:
    """Return the target exactly as it was released, from the snapshot alone."""
    return Target(prompt=version.prompt, model=version.model)


def write_version(folder: Path, version: Version, sources: Mapping[str, bytes]) -> None:
    """Write `version` and its source files as `folder`.

    Raises `Refused` if the folder exists already, `Unmeasured` where the disk refuses.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    except OSError as error:
        raise disk_error(folder, error) from error
    try:
        for path, content in sources.items():
            write_bytes(new / "files" / path, content)
        # keys stay in order: a model answers in the order of its schema's properties
        text = json.dumps(version_record(version), indent=2, ensure_ascii=False)
        write_bytes(new / "version.json", text.encode() + b"\n")
        new.chmod(0o755)
        os.rename(new, folder)  # noqa: PTH104 - Path.rename would replace an empty folder silently
        sync_folder(folder.parent)
    except OSError as error:
        if not folder.exists():
            raise disk_error(folder, error) from error
        raise Refused(
            f"{version.address} was released by someone else meanwhile",
            hint=f"run llmops release {version.name} again: it takes the next number",
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def read_version(folder: Path, name: str, number: int) -> Version:
    """Return `name@v<number>` from `folder`. Raises `IntegrityBroken`."""
    file = folder / "version.json"
    try:
        record = from_bytes(file.read_bytes())
    except (OSError, InvalidRecord) as error:
        raise _broken(file, str(error)) from error
    version = version_of(record, file)
    if (version.name, version.number) != (name, number):
        raise _broken(file, f"it says it is {version.address}")
    for path, digest in version.files.items():
        source = folder / "files" / path
        if not source.is_file() or digest_bytes(source.read_bytes()) != digest:
            raise _broken(source, "its content is not what was released")
    return version


def version_record(version: Version) -> dict[str, Json]:
    """Return what `version.json` holds: the version and its digest."""
    return {**version.record(), "digest": version.digest}


def version_of(record: Mapping[str, Json], file: Path) -> Version:
    """Return the version in `record`, which was read from `file`. Raises `IntegrityBroken`."""
    try:
        version = version_from({key: record[key] for key in record if key != "digest"})
    except InvalidRecord as error:
        raise _broken(file, str(error)) from error
    if version.digest != record.get("digest") or target_of(version).digest != version.target:
        raise _broken(file, "its content is not what was released")
    return version


def _broken(file: Path, why: str) -> IntegrityBroken:
    hint = "restore it from git: a version is never edited, release a new one"
    return IntegrityBroken(why, where=str(file), hint=hint)
