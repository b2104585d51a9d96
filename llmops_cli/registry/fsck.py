"""Check that the registry has only grown since a git revision.

Versions, statements of evidence and events of every environment: none removed, edited or
renumbered. Rows and texts may have been deleted (`gc`), not changed. One revision is enough, so a
clone of depth 1 can tell. What was promoted since is decided a second time, by the policy at that
revision: a policy cannot be weakened and used in one and the same change.

A file of no known kind is a problem: no reader checks it, so nobody knows what it is for. So is a
file of the store that git has: it would count as measured.

All problems are reported at once, each with the file at fault.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from llmops_cli.core.errors import InvalidFiles, Refused
from llmops_cli.core.policy import Decision, Environment, policy_changes
from llmops_cli.core.records import EvalsetFacts, Event
from llmops_cli.core.result import BASELINE, OWN_BASELINE
from llmops_cli.plugins.catalog import catalog
from llmops_cli.project.policy import policy_of
from llmops_cli.project.project import (
    PROJECT_FILE,
    Project,
    find_root,
    has_project_file,
    load_project,
)
from llmops_cli.registry.gc import needed_evidence
from llmops_cli.registry.recompute import BaselineRows, verdict_of
from llmops_cli.registry.verify import ProblemCollector, RegistryProblem, pass_check
from llmops_cli.run.workspace import AtRevision
from llmops_cli.stores.calibrations import Calibrations
from llmops_cli.stores.evidence import SUMMARY, check_summary, damage, has_rows
from llmops_cli.stores.git import open_git, tracked_paths
from llmops_cli.stores.registry import Registry
from llmops_cli.stores.registry_files import FOLDER, exists, files_below, open_file

_DELETABLE = (".cases.jsonl", ".texts.jsonl.gz")
_VERSION = re.compile(rf"{FOLDER}/versions/(?P<name>.+)@v(?P<number>[0-9]+)/(?P<file>.+)")
_EVENT = re.compile(rf"{FOLDER}/log/(?P<environment>[^/]+)/(?P<name>.+)/(?P<seq>[0-9]{{6}})\.json")
_KNOWN = re.compile(
    r"\.gitattributes|\.gitignore|schemas/[^/]+\.json|watch/[^/]+\.jsonl"
    r"|versions/.+@v[0-9]+/(version\.json|files/.+)"
    r"|evidence/.+@v[0-9]+/[0-9a-f]{12}\.(json|summary\.md|cases\.jsonl|texts\.jsonl\.gz)"
    r"|log/[^/]+/.+/[0-9]{6}\.json|calibrations/[0-9a-f]{12}\.json"
)
"""Matches every file that llmops writes for git below its folder."""
_LOCAL = re.compile(r"(store|traces)/.+|(.+/)?\.new-.+")
"""Matches what it writes for one machine: git ignores it."""
_APPEND_ONLY = tuple(f"{FOLDER}/{folder}/" for folder in ("versions", "evidence", "log"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryGrowth:
    """What was added since a revision, and what is not as it must be."""

    base: str | None
    """The revision's name; None: the registry was checked without one."""
    versions: int
    evidence: int
    events: tuple[Event, ...]
    """Those that are new."""
    problems: tuple[RegistryProblem, ...]

    def passes(self, *, strict: bool) -> bool:
        """Return whether there is no problem; `strict` counts warnings too."""
        return pass_check(self.problems, strict=strict)


def fsck(start: Path, base: str | None) -> RegistryGrowth:
    """Check the registry against the git revision `base`; None: read and check all that is there.

    Raises `Refused` if `base` cannot be read.
    """
    root = find_root(start)
    if base is None:
        return _RegistryCheck(root, {}, base=None, project=None).run()
    checkout = open_git(root)
    if checkout is None:
        raise Refused(
            f"fsck --base {base} needs git, and {root} is no git checkout",
            hint="llmops verify works without git",
        )
    revision = checkout.at(base)
    source = AtRevision(revision, base)
    project, warnings = None, list[RegistryProblem]()
    if has_project_file(source):
        try:
            project = load_project(root, catalog(), source=source)
        except InvalidFiles as error:
            message = f"invalid at {base}, so its policy is not applied: {error.problems[0]}"
            warnings.append(RegistryProblem(where=PROJECT_FILE, message=message, warning=True))
    growth = _RegistryCheck(root, revision.blobs, base=base, project=project).run()
    return replace(growth, problems=(*growth.problems, *warnings))


class _RegistryCheck:
    """One comparison of the registry in `root` with the revision `base`.

    `blobs` is git's blob of each file at `base`, by path, and `project` the project as it was
    there; None: its policy is not applied.
    """

    def __init__(
        self, root: Path, blobs: Mapping[str, str], *, base: str | None, project: Project | None
    ) -> None:
        self._root = root
        self._registry = Registry(root)
        self._base = base
        self._project = project
        self._blobs = {path: blobs[path] for path in blobs if path.startswith(_APPEND_ONLY)}
        self._collector = ProblemCollector(root, Path(FOLDER))
        self._read = self._collector.read
        files = files_below(self._registry.folder, on_error=self._collector.add_error)
        self._present = [path.relative_to(root).as_posix() for path in files]

    def run(self) -> RegistryGrowth:
        """Compare and read everything."""
        for path in self._unknown():
            self._collector.add(
                path, "llmops commits no such file: remove it from git, and delete it"
            )
        here = set(self._files())
        added = here - set(self._blobs)
        for path, blob in sorted(self._blobs.items()):
            self._read(self._compare, path, blob)
        self._check_added(added)
        self._read_versions()
        for path in sorted(filter(_is_statement, here)):
            evidence = self._read(self._registry.evidence_at, self._root / path)
            for error in damage(evidence) if evidence is not None else ():
                self._collector.add_error(error)
        calibrations = Calibrations(self._root)
        for file in self._read(calibrations.files) or ():
            self._read(calibrations.at, file)  # these may be replaced, and must be valid
        events = tuple(self._new_events(added))
        for event in events if self._base is not None else ():
            self._require_rows(event)
            if self._project is not None:
                self._apply_earlier_policy(event, self._project)
        return RegistryGrowth(
            base=self._base,
            versions=sum(path.endswith("/version.json") for path in added),
            evidence=sum(map(_is_statement, added)),
            events=events,
            problems=self._collector.problems,
        )

    def _unknown(self) -> Iterator[str]:
        """Yield the paths, tracked or present, of no known kind."""
        tracked = set(tracked_paths(self._root, FOLDER, or_at_head=False))
        for path in sorted(tracked.union(self._present)):
            name = path.removeprefix(f"{FOLDER}/")
            local = path not in tracked and _LOCAL.fullmatch(name)
            if not local and not _KNOWN.fullmatch(name):
                yield path

    def _files(self) -> Iterator[str]:
        """Yield the files that may only be added to."""
        for name in self._present:
            if name.startswith(_APPEND_ONLY) and ".new-" not in name:
                yield name

    def _compare(self, path: str, blob: str) -> None:
        file = self._root / path
        if not exists(file):
            if not path.endswith(_DELETABLE):
                self._collector.add(path, self._why_removed(path))
        else:
            with open_file(file) as opened:
                content = opened.read()
            if _blob(content, like=blob) != blob:
                self._collector.add(path, self._why_edited(path))

    def _check_added(self, added: Iterable[str]) -> None:
        """Check that nothing was added to an old version, and the summaries of new evidence."""
        for path in sorted(added):
            match = _VERSION.fullmatch(path)
            if match and path.removesuffix(match["file"]) + "version.json" in self._blobs:
                message = f"it was added to a version that {self._base} has already"
                self._collector.add(path, message)
            if path.endswith(SUMMARY):
                self._read(self._check_summary, self._root / path)

    def _check_summary(self, file: Path) -> None:
        """Check that reviewers read what the statement says. Raises `IntegrityBroken`."""
        statement = file.with_name(file.name.removesuffix(SUMMARY) + ".json")
        check_summary(file, self._registry.evidence_at(statement))

    def _why_removed(self, path: str) -> str:
        event = _EVENT.fullmatch(path)
        if event is None:
            return f"it was there at {self._base} and is removed"
        following = f"{int(event['seq']) + 1:06}.json"
        if str(Path(path).with_name(following)) in self._blobs:
            return f"an event was removed from the chain since {self._base}"
        return (
            f"the last event of {self._base} is removed (git revert?): to undo a promotion, run "
            f"`llmops rollback {event['name']}@{event['environment']}`"
        )

    def _why_edited(self, path: str) -> str:
        event, version = _EVENT.fullmatch(path), _VERSION.fullmatch(path)
        if event is not None:
            return (
                f"it is not the event of {self._base}: it was edited, or two branches moved "
                f"{event['name']} in {event['environment']} and one took the other's number"
            )
        if version is not None and version["file"] == "version.json":
            return (
                f"it is not the v{version['number']} of {self._base}: it was edited, or two "
                "branches released this number; release again to get the next one"
            )
        return f"its content is not what it was at {self._base}"

    def _read_versions(self) -> None:
        for name in self._read(self._registry.names) or ():
            numbers = self._registry.numbers(name)
            for last, following in pairwise((0, *numbers)):
                if following > last + 1:
                    path = f"{FOLDER}/versions/{name}@v{last + 1}/version.json"
                    self._collector.add(path, f"{name} has a v{following} and no v{last + 1}")
            for number in numbers:
                self._read(self._registry.version, name, number)

    def _new_events(self, added: set[str]) -> Iterator[Event]:
        for environment in self._read(self._registry.environments) or ():
            for name in self._read(self._registry.prompts_in, environment) or ():
                for event in self._read(self._registry.history, environment, name) or ():
                    file = self._registry.event_file(event)
                    if file.relative_to(self._root).as_posix() in added:
                        if event.to_version is not None:
                            self._read(self._registry.moved_to, event)
                        yield event

    def _require_rows(self, event: Event) -> None:
        """Check that a promotion brings the rows that decided it, while `gc` would keep them."""
        needed = self._read(needed_evidence, self._registry, event.prompt) or frozenset()
        cited = {*event.evidence, *event.baseline_evidence} & needed
        for evidence in self._read(self._registry.all_evidence, event.prompt) or ():
            if evidence.digest in cited and not has_rows(evidence):
                message = (
                    f"event {event.seq} in {event.environment} is based on it, and its rows are "
                    "not here"
                )
                self._collector.add(evidence.file, message)

    def _apply_earlier_policy(self, event: Event, project: Project) -> None:
        """Decide a promotion a second time, by the project as it was at the base.

        Whoever changes the policy and promotes under it in one change gets a warning; where the
        earlier policy would have refused the version, a problem. The policy must change first, in
        a change of its own. Raises `IntegrityBroken`.
        """
        environments = {environment.name: environment for environment in project.environments}
        environment = environments.get(event.environment)
        if event.action != "promote" or environment is None:  # None: a new one has no policy yet
            return
        file = self._registry.event_file(event)
        if environment.accept == "pass" and event.accept_inconclusive:
            self._collector.add(file, f"at {self._base}, {environment.name} accepts only PASS")
        if environment.after is not None and event.came_from is None:
            message = (
                f"at {self._base}, {environment.name} comes after {environment.after}, and no "
                "event of that is cited"
            )
            self._collector.add(file, message)
        decided = {facts.evalset for facts in event.judged_by}
        retired = {case for facts in event.judged_by for case in facts.retired}
        for name in project.evalsets_of(event.prompt):
            if name not in decided:
                message = (
                    f"at {self._base}, {name} gated {event.prompt}, and it was not used. Remove it "
                    "first, in a change of its own"
                )
                self._collector.add(file, message, warning=name in retired)
        earlier = [_facts_under(project, facts, environment) for facts in event.judged_by]
        changes = [
            f"{facts.evalset}: {change}"
            for facts, facts_then in zip(event.judged_by, earlier, strict=True)
            for change in policy_changes(facts_then.policy, facts.policy)
        ]
        if changes:
            changed = f"the policy changed since {self._base} too ({'; '.join(changes)})"
            message, admitted = self._second_verdict(event, earlier)
            self._collector.add(file, f"{changed}{message}", warning=admitted)

    def _second_verdict(self, event: Event, earlier: Sequence[EvalsetFacts]) -> tuple[str, bool]:
        """Return what the earlier policy decides in words, and whether it allows the promotion."""
        all_evidence = self._registry.all_evidence(event.prompt)
        with_rows = {piece.digest: piece for piece in all_evidence if has_rows(piece)}
        cited = (*event.evidence, *event.baseline_evidence)
        known = [with_rows[digest] for digest in cited if digest in with_rows]
        if not known or len(known) < len(cited):
            return ", and the rows to decide by the earlier one are not here", False
        baseline = BaselineRows(known[-1], OWN_BASELINE if event.baseline_evidence else BASELINE)
        verdict = verdict_of(known[0], baseline if event.from_version else None, earlier)
        allowed = {Decision.PASS}
        if event.accept_inconclusive or event.initial:
            allowed.add(Decision.INCONCLUSIVE)
        if verdict.decision in allowed:
            return f"; by the earlier one it is {verdict.decision.value} as well", True
        advice = "Change the policy first, in a change of its own"
        decided = f"by the earlier one it is {verdict.decision.value}"
        return f"; {decided}: {verdict.why}. {advice}", False


def _facts_under(project: Project, facts: EvalsetFacts, environment: Environment) -> EvalsetFacts:
    """Return `facts` with the policy that `project` has for the evalset."""
    header = project.evalsets.get(facts.evalset)
    gate = header.gate if header else {}
    return replace(facts, policy=policy_of(project.gate, gate, environment.gate))


def _is_statement(path: str) -> bool:
    return path.startswith(f"{FOLDER}/evidence/") and path.endswith(".json")


def _blob(content: bytes, *, like: str) -> str:
    """Return git's id of a file with this content, by the hash that `like` was made with."""
    header = b"blob %d\0" % len(content)
    if len(like) == 64:
        return hashlib.sha256(header + content).hexdigest()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
