"""Answers to be labelled by people: a sample of those that both arms gave already. Calls nothing.

The sample hangs on the answers' digests alone: not on what the judge says of them, or its mistakes
would be counted among the answers it was chosen by. The judge's readings are not shown to people
either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, zip_longest
from pathlib import Path

from llmops_cli.core.digest import digest, short
from llmops_cli.core.errors import Refused
from llmops_cli.files.drafts import Unlabelled, draft
from llmops_cli.flows.judge.chosen import Found, find
from llmops_cli.flows.run.arm import Arm, chunks
from llmops_cli.flows.run.contest import contests
from llmops_cli.flows.run.pairing import Pairing
from llmops_cli.flows.run.preparing import Depth, plan
from llmops_cli.flows.run.selection import Selection
from llmops_cli.flows.workspace import Workspace
from llmops_cli.stores.atomic import write_text

TABLE = ".csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """What was written."""

    address: str
    path: str
    answers: int
    held: int
    """Different answers there were to choose from."""
    arms: tuple[str, ...]


def write_draft(workspace: Workspace, scorer: str, path: Path, *, wanted: int) -> Drafted:
    """Writes `wanted` answers, or as many as there are, as labels without a label.

    Raises `Refused` where the file is there already, or where nothing was answered yet.
    """
    if path.exists():
        raise Refused(
            f"{path} is there already: labels are somebody's work", hint="name a new file"
        )
    found = find(workspace, scorer)
    by_arm = _answers(workspace, found)
    held = sum(map(len, by_arm.values()))
    if not held:
        raise Refused(
            f"no answer on {found.evalset.name} is held here",
            hint=f"llmops eval --evalset {found.evalset.name}",
        )
    turns = zip_longest(*by_arm.values())
    rows = [each for turn in turns for each in turn if each is not None][:wanted]
    text = draft(rows, table=path.suffix == TABLE)
    write_text(path, text, redact=workspace.redact)
    return Drafted(
        address=found.address,
        path=str(path),
        answers=len(rows),
        held=held,
        arms=tuple(dict.fromkeys(each.arm for each in rows)),
    )


def _answers(workspace: Workspace, found: Found) -> dict[str, list[Unlabelled]]:
    """The different answers of each arm, in an order that says nothing about them."""
    selection = Selection(evalsets=[found.evalset.name])
    planned = plan(workspace, contests(workspace, selection), Depth(now=datetime.now(UTC)))
    seen: set[tuple[str, str]] = set()
    by_arm: dict[str, list[Unlabelled]] = {}
    for pairing in planned:
        arms = [pairing.candidate, *pairing.others.values()]
        for key, each in chain.from_iterable(_of(pairing, arm) for arm in arms):
            if key not in seen:
                seen.add(key)
                by_arm.setdefault(each.arm, []).append(each)
    for rows in by_arm.values():
        rows.sort(key=lambda each: digest("llmops/draft/v1", each.id))
    return by_arm


def _of(pairing: Pairing, arm: Arm) -> Iterator[tuple[tuple[str, str], Unlabelled]]:
    cases = pairing.round.cases
    for positions in chunks(range(len(cases))):
        for at, completion in arm.completions(arm.draws(positions)).items():
            if completion.text is None or completion.tool_calls:
                continue
            case = cases[at.case]
            contexts = case.contexts if completion.contexts is None else completion.contexts
            yield (
                (case.facts, completion.digest),
                Unlabelled(
                    id=f"{case.id}-{short(completion.digest)}",
                    case=case,
                    arm=arm.name,
                    output=completion.text,
                    contexts=contexts,
                ),
            )
