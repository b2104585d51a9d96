"""Read the project's files, its rules and its registry at another git revision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from llmops_cli.core.errors import IntegrityBroken, InvalidFiles, Refused
from llmops_cli.core.release import Event
from llmops_cli.project.paths import MAX_FILE, Source, Unreadable
from llmops_cli.project.project import Project, has_project_file, load_project
from llmops_cli.stores.event_log import chain_of, is_event
from llmops_cli.stores.git import Revision, open_git
from llmops_cli.stores.registry import Registry


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
    """The project's files at the git revision `name`. Raises `Refused` where it is not here."""
    checkout = open_git(root)
    if checkout is None:
        raise Refused(
            f"--base {name} needs git, and {root} is no git checkout",
            hint="in CI, check the repository out; or leave --base away",
        )
    return AtRevision(checkout.at(name), name)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Raises `Refused`, with the files at fault, where what is at the revision cannot be read."""
    try:
        yield
    except InvalidFiles as error:
        where = error.problems[0].where.path
        raise _unusable(name, "\n".join(f"  {each}" for each in error.problems), where) from error
    except Unreadable as error:
        raise _unusable(name, f"  {error}", ".") from error


def registry_at(base: str, root: Path, source: Source) -> Registry:
    """The registry as its log stands in `source`, which is the revision `base`.

    The log only grows: what a change adds to it counts for nobody but itself. Versions and
    evidence are those that are here. It raises `IntegrityBroken` where that log is broken.
    """

    def chains(folder: Path) -> tuple[Event, ...]:
        files = sorted(map(Path, source.files(folder.relative_to(root).as_posix())))
        here = [each for each in files if root / each.parent == folder and is_event(each)]
        with reading(base):
            contents = {each: source.read(each.as_posix(), limit=MAX_FILE) for each in here}
        try:
            return chain_of((each, partial(contents.__getitem__, each)) for each in here)
        except IntegrityBroken as broken:
            where = f"{broken.where} at {base}"
            raise IntegrityBroken(broken.why, where=where, hint=broken.hint) from broken

    return Registry(root, chains)


def _unusable(name: str, problems: str, path: str) -> Refused:
    return Refused(
        f"what decides is read at {name}, and there it is not valid:\n{problems}",
        hint=f"mend it there first, in a change of its own; or --base the last commit at which it "
        f"was valid: git log {name} -- {path}",
    )


def rules_at(base: str, project: Project) -> Project:
    """The project at a git revision; before it began, its policy is the default and trusts none."""
    source = at_revision(project.root, base)
    if has_project_file(project.root, source):
        with reading(base):
            return load_project(project.root, project.catalog, source=source)
    environments = tuple(replace(each, gate={}) for each in project.environments)
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
    except InvalidFiles:  # prompts of another kind, which nobody had called a project yet
        return bare
    return replace(before, environments=environments, gate={}, trust=())
