"""Read the project's files, its rules and its registry at another git revision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from llmops_cli.core.errors import IntegrityBroken, InvalidFiles, Refused
from llmops_cli.core.records import Event
from llmops_cli.project.paths import MAX_FILE, Source, Unreadable
from llmops_cli.project.project import Project, has_project_file, load_project
from llmops_cli.stores.git import Revision, open_git
from llmops_cli.stores.registry import EVENT_FILES, Registry, chain_of


@dataclass(frozen=True, slots=True)
class AtRevision:
    """A `files.paths.Source` over a commit."""

    revision: Revision
    name: str

    def read(self, path: str, *, limit: int) -> bytes:
        content = self.revision.read(path)
        if content is None:
            raise Unreadable(f"there is no file {path!r} at {self.name}")
        if len(content) > limit:
            raise Unreadable(f"{path!r} is larger than {limit // 1_000_000} MB")
        return content

    def files(self, folder: str) -> tuple[str, ...]:
        return self.revision.files(folder)


def at_revision(root: Path, name: str) -> Source:
    """Return the project's files at a git revision. Raises `Refused` if it is not here."""
    checkout = open_git(root)
    if checkout is None:
        raise Refused(
            f"--base {name} needs git, and {root} is no git checkout",
            hint="in CI, check the repository out; or leave --base away",
        )
    return AtRevision(checkout.at(name), name)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Raise `Refused`, naming the files, where what is at the revision cannot be read."""
    try:
        yield
    except InvalidFiles as error:
        where = error.problems[0].where.path
        raise _unusable(
            name, "\n".join(f"  {problem}" for problem in error.problems), where
        ) from error
    except Unreadable as error:
        raise _unusable(name, f"  {error}", ".") from error


def registry_at(base: str, root: Path, source: Source) -> Registry:
    """Return the registry with its log as it is in `source`, the revision `base`.

    The log only grows: what a change adds to it does not count for its own baseline. Versions and
    evidence are those that are here. Reading raises `IntegrityBroken` where that log is broken.
    """

    def chains(folder: Path) -> tuple[Event, ...]:
        files = sorted(map(Path, source.files(folder.relative_to(root).as_posix())))
        here = [path for path in files if root / path.parent == folder and path.match(EVENT_FILES)]
        with reading(base):
            contents = {path: source.read(path.as_posix(), limit=MAX_FILE) for path in here}
        try:
            return chain_of((path, partial(contents.__getitem__, path)) for path in here)
        except IntegrityBroken as broken:
            where = f"{broken.where} at {base}"
            raise IntegrityBroken(broken.why, where=where, hint=broken.hint) from broken

    return Registry(root, chains)


def _unusable(name: str, problems: str, path: str) -> Refused:
    return Refused(
        f"what decides is read at {name}, and there it is not valid:\n{problems}",
        hint=f"fix it there first, in a change of its own; or --base the last commit at which it "
        f"was valid: git log {name} -- {path}",
    )


def rules_at(base: str, project: Project) -> Project:
    """Return the project at a git revision.

    Before the project began, its policy is the default and nothing is trusted.
    """
    source = at_revision(project.root, base)
    if has_project_file(project.root, source):
        with reading(base):
            return load_project(project.root, project.catalog, source=source)
    environments = tuple(replace(environment, gate={}) for environment in project.environments)
    bare = replace(
        project,
        context=replace(project.context, source=source),
        environments=environments,
        gate={},
        prompts={},
        evalsets={},
        trust=(),
    )
    try:
        before = load_project(project.root, project.catalog, source=source)
    except InvalidFiles:  # prompts of another kind: it was no project yet
        return bare
    return replace(before, environments=environments, gate={}, trust=())
