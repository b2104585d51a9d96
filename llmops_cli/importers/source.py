"""Reads foreign configuration files: YAML as other tools write it, with the line of every value.

Other tools' YAML has anchors, aliases and merge keys, which our own files may not have. They are
expanded here under a cap, so that a small file cannot become a large one; tags stay refused.
Every path goes through `Folder`: nothing outside the folder of the imported file is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from llmops_cli.core.errors import InvalidFiles, Location, Problem
from llmops_cli.importers.base import NotCarried
from llmops_cli.project.documents import FALSE, FLOAT, INTEGER, NULL, TRUE, Document, Place, decode
from llmops_cli.project.paths import MAX_FILE, Folder, Unreadable, within

MAX_VALUES = 500_000
"""Values that one file may expand to."""
MAX_DEPTH = 50
PLAIN = "tag:yaml.org,2002:"
CODE = re.compile(r"\.(js|cjs|mjs|ts|cts|mts|py|rb|sh|go)(:[^/]*)?$")

ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]+://")


def read_document(content: bytes, path: str) -> Document:
    """A YAML or JSON file as plain data with lines. Raises `InvalidFiles`."""
    text = decode(content, path)
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _invalid(path, line, f"not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise _invalid(path, None, f"not YAML: {error}") from None
    builder = _Builder(path)
    data = builder.value(node, ()) if node is not None else None
    return Document(path, data, builder.lines, builder.text_lines)


@dataclass(slots=True)
class _Builder:
    path: str
    lines: dict[Place, int] = field(default_factory=dict)
    text_lines: dict[Place, int] = field(default_factory=dict)

    def value(self, node: yaml.Node, place: Place) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if len(place) > MAX_DEPTH or len(self.lines) > MAX_VALUES:
            raise _invalid(self.path, node.start_mark.line + 1, "too large or nested too deeply")
        if not node.tag.startswith(PLAIN):
            raise _invalid(self.path, node.start_mark.line + 1, f"the tag {node.tag!r}")
        if isinstance(node, yaml.ScalarNode):
            if node.style in ("|", ">"):
                self.text_lines[place] = node.start_mark.line + 2
            return _scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(each, (*place, at)) for at, each in enumerate(node.value)]
        assert isinstance(node, yaml.MappingNode)
        return self._mapping(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        """The mapping, where its own keys win over those that `<<` brings."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if key.tag == f"{PLAIN}merge":
                below = self.value(value, (*place, "<<"))
                for each in below if isinstance(below, list) else [below]:
                    merged = {**each, **merged} if isinstance(each, dict) else merged
                continue
            if name in own:
                raise _invalid(self.path, key.start_mark.line + 1, f"'{name}' is here twice")
            self.lines.setdefault((*place, name), key.start_mark.line + 1)
            own[name] = self.value(value, (*place, name))
        return {**merged, **own}


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style not in (None, ""):
        return text
    if text in NULL:
        return None
    if text in TRUE or text in FALSE:
        return text in TRUE
    if INTEGER.fullmatch(text) and len(text) < 16:
        return int(text)
    if FLOAT.fullmatch(text) and len(text) < 300:
        number = float(text)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return text


def _invalid(path: str, line: int | None, message: str) -> InvalidFiles:
    return InvalidFiles([Problem(where=Location(path=path, line=line), message=message)])


@dataclass(frozen=True, slots=True)
class Nearby:
    """The files below the folder of the file that is imported."""

    source: Folder

    def text(self, reference: str) -> str:
        """The text that `file://…` or a path names. Raises `NotCarried`."""
        path = path_of(reference)
        try:
            return decode(self.source.read(path, limit=MAX_FILE), path)
        except Unreadable as error:
            raise NotCarried(str(error), "put the file below the imported one") from None
        except InvalidFiles as error:
            raise NotCarried(error.problems[0].message, "save it as UTF-8 text") from None

    def document(self, reference: str) -> Document:
        """The YAML or JSON that `file://…` or a path names. Raises `NotCarried`."""
        path = path_of(reference)
        try:
            return read_document(self.text(reference).encode(), path)
        except InvalidFiles as error:
            first = error.problems[0]
            raise NotCarried(f"{first.where}: {first.message}", "mend the file") from None

    def matching(self, reference: str) -> list[str]:
        """The paths that a reference with `*` names, sorted; any other is itself.

        Raises `NotCarried` for what is no path, and where nothing has such a name.
        """
        path = path_of(reference)
        if "*" not in path:
            return [path]
        root = self.source.root
        found = (each for each in root.glob(path) if each.is_file())
        paths = sorted(each.relative_to(root).as_posix() for each in found)
        if not paths:
            raise NotCarried("no file has such a name", "mend the path")
        return paths


def path_of(reference: str) -> str:
    """The path in the folder that `file://…` or a path means. Raises `NotCarried`."""
    path = reference.removeprefix("file://")
    if ELSEWHERE.match(path):
        raise NotCarried("it is kept elsewhere, and imports use no network", "save it as a file")
    if CODE.search(path):
        raise NotCarried(f"{path!r} is code, and imports run no code", "write the values out")
    try:
        return within(path)
    except Unreadable as error:
        raise NotCarried(str(error), "put the file below the imported one") from None


def is_file(value: Any) -> bool:
    """Whether a value refers to a file."""
    return isinstance(value, str) and value.startswith("file://")


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}
