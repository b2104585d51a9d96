"""What changed between two versions: texts, parameters, inputs, model, and measured scores."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.prompt import Message, Target
from llmops_cli.core.release import Evidence
from llmops_cli.core.report import Changed, Difference
from llmops_cli.registry.promote import breaking_changes
from llmops_cli.run.selection import ResolvedTarget, resolve_target
from llmops_cli.run.workspace import Workspace


def difference(workspace: Workspace, before: str, after: str) -> Difference:
    """What changed from `before` to `after`, both `name[@selector]`; `after` may be a selector.

    Raises `UnknownName`, and `Refused` where both are the working copy.
    """
    name, _, selector = before.partition("@")
    named = "@" in after or after in workspace.project.prompts
    other, _, their = after.partition("@") if named else (name, "", after)
    old = resolve_target(workspace, name, selector or "working")
    new = resolve_target(workspace, other, their or "working")
    if old.name == new.name == f"{name}@working":
        raise Refused(
            f"both are the working copy of {name}",
            hint=f"llmops diff {name}@{workspace.project.environments[-1].name}, or {name}@v1 …",
        )
    return Difference(
        before=old.name,
        after=new.name,
        changes=tuple(_changes(old.target, new.target)),
        breaking=tuple(breaking_changes(old.target.prompt, new.target.prompt)),
        scores={
            one.name: _verdict(evidence)
            for one in (old, new)
            if (evidence := _newest(workspace, one)) is not None
        },
    )


def _changes(old: Target, new: Target) -> Iterator[Changed]:
    models = [f"{each.model.provider}/{each.model.model}" for each in (old, new)]
    if models[0] != models[1]:
        yield Changed(what="model", before=models[0], after=models[1])
    yield from _mapping("parameter", old.parameters, new.parameters)
    yield from _mapping("extra body", old.model.extra_body, new.model.extra_body)
    if old.model.identity != new.model.identity:
        yield Changed(what="identity", before=old.model.identity, after=new.model.identity)
    yield from _mapping("option", old.model.options, new.model.options)
    yield from _mapping("input", old.prompt.inputs, new.prompt.inputs)
    yield from _mapping("include", old.prompt.includes, new.prompt.includes)
    ours: dict[str, Json] = {
        "response format": old.prompt.response_format,
        "JSON schema": old.prompt.json_schema,
        "tools": list(old.prompt.tools) or None,
    }
    theirs: dict[str, Json] = {
        "response format": new.prompt.response_format,
        "JSON schema": new.prompt.json_schema,
        "tools": list(new.prompt.tools) or None,
    }
    yield from _mapping("", ours, theirs)
    yield from _messages(old.prompt.messages, new.prompt.messages)


def _mapping(kind: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[Changed]:
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield Changed(
                what=f"{kind} {name}".strip(), before=_text(old, name), after=_text(new, name)
            )


def _text(mapping: Mapping[str, Json], name: str) -> str | None:
    value = mapping.get(name)
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _messages(old: tuple[Message, ...], new: tuple[Message, ...]) -> Iterator[Changed]:
    """Turns aligned by content: a turn that only moved down is no change."""
    matcher = difflib.SequenceMatcher(
        None, [each.canonical for each in old], [each.canonical for each in new], autojunk=False
    )
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            continue
        for at in range(max(b - a, d - c)):
            before = old[a + at] if a + at < b else None
            after = new[c + at] if c + at < d else None
            turn = after or before
            assert turn is not None
            place = (c if after else a) + at + 1
            yield Changed(
                what=f"message {place} ({turn.role})",
                before=_content(before),
                after=_content(after),
            )


def _content(message: Message | None) -> str | None:
    if message is None:
        return None
    if isinstance(message.content, str):
        return message.content
    return json.dumps(list(message.content), sort_keys=True, ensure_ascii=False)


def _newest(workspace: Workspace, one: ResolvedTarget) -> Evidence | None:
    if one.version is None:
        return None
    found = workspace.registry.evidence(one.target.prompt.name, one.version)
    return found[-1] if found else None


def _verdict(evidence: Evidence) -> str:
    verdict = evidence.measurement.verdict
    return f"{verdict.decision.value}: {verdict.why}"
