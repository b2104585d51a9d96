"""`llmops diff`: what changed between two versions: texts, parameters, inputs, model and scores."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import Refused
from llmops_cli.core.prompt import Message, Target
from llmops_cli.core.report import Changed, Difference
from llmops_cli.registry.promote import breaking_changes
from llmops_cli.run.selection import ResolvedTarget, resolve_target
from llmops_cli.run.workspace import Workspace


def difference(workspace: Workspace, before: str, after: str) -> Difference:
    """Return what changed from `before` to `after`, both `name[@selector]`.

    `after` may be a selector alone. Where a name alone is compared with its own working copy, it is
    what the last environment runs. Raises `UnknownName`, and `Refused` if there is no such version
    or both are the working copy.
    """
    name, _, selector = before.partition("@")
    is_address = "@" in after or after in workspace.project.prompts
    other, _, other_selector = after.partition("@") if is_address else (name, "", after)
    if before in workspace.project.prompts and (other, other_selector) == (name, "working"):
        selector = workspace.project.environments[-1].name
        if workspace.registry.pointer(selector, name) is None:
            raise Refused(
                f"{selector} does not run {name} yet: nothing to compare the working copy with",
                hint=f"name a version: llmops diff {name}@v1",
            )
    old = resolve_target(workspace, name, selector or "working")
    new = resolve_target(workspace, other, other_selector or "working")
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
            target.name: verdict
            for target in (old, new)
            if (verdict := _newest_verdict(workspace, target)) is not None
        },
    )


def _changes(old: Target, new: Target) -> Iterator[Changed]:
    models = [f"{target.model.provider}/{target.model.model}" for target in (old, new)]
    if models[0] != models[1]:
        yield Changed(what="model", before=models[0], after=models[1])
    yield from _changed_keys("parameter", old.parameters, new.parameters)
    yield from _changed_keys("extra body", old.model.extra_body, new.model.extra_body)
    if old.model.identity != new.model.identity:
        yield Changed(what="identity", before=old.model.identity, after=new.model.identity)
    yield from _changed_keys("option", old.model.options, new.model.options)
    yield from _changed_keys("input", old.prompt.inputs, new.prompt.inputs)
    yield from _changed_keys("include", old.prompt.includes, new.prompt.includes)
    yield from _changed_keys("", _formats(old), _formats(new))
    yield from _changed_messages(old.prompt.messages, new.prompt.messages)


def _formats(target: Target) -> Mapping[str, Json]:
    prompt = target.prompt
    return {
        "response format": prompt.response_format,
        "JSON schema": prompt.json_schema,
        "tools": list(prompt.tools) or None,
    }


def _changed_keys(kind: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[Changed]:
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if before != after:
            what = f"{kind} {name}".strip()
            yield Changed(what=what, before=_text(before), after=_text(after))


def _text(value: Json) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _changed_messages(old: tuple[Message, ...], new: tuple[Message, ...]) -> Iterator[Changed]:
    """Yield changed messages, aligned by content: one that only moved down is no change."""
    matcher = difflib.SequenceMatcher(
        None,
        [message.canonical for message in old],
        [message.canonical for message in new],
        autojunk=False,
    )
    for tag, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        for at in range(max(old_end - old_start, new_end - new_start)):
            before = old[old_start + at] if old_start + at < old_end else None
            after = new[new_start + at] if new_start + at < new_end else None
            message = after or before
            assert message is not None
            position = (new_start if after else old_start) + at + 1
            yield Changed(
                what=f"message {position} ({message.role})",
                before=_text(before.plain()["content"] if before else None),
                after=_text(after.plain()["content"] if after else None),
            )


def _newest_verdict(workspace: Workspace, target: ResolvedTarget) -> str | None:
    """Return the verdict of the newest evidence of a version, if there is any."""
    if target.version is None:
        return None
    evidence = workspace.registry.evidence(target.target.prompt.name, target.version)
    if not evidence:
        return None
    verdict = evidence[-1].measurement.verdict
    return f"{verdict.decision.value}: {verdict.why}"
