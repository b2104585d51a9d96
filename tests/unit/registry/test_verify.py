"""Verification finds every byte that was touched and every promotion that nothing let in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.policy import Decision, Policy
from llmops_cli.core.records import Event
from llmops_cli.registry.verify import RegistryProblem, Verification, verify_environment
from llmops_cli.stores.registry import Registry
from tests.unit.releases import event, facts, measured, promoted, released, rows

V1, V2, V3 = "Answer.", "Answer well.", "Answer better."


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """v1 to v3 of support were promoted one after the other, v3 against what v2 was measured as."""
    registry = Registry(tmp_path)
    one, two, three = (released(tmp_path, text) for text in (V1, V2, V3))
    measured(tmp_path, one, None, found=rows(V1, None))
    measured(tmp_path, two, one, found=rows(V2, V1))
    measured(tmp_path, three, one, found=rows(V3, V1))
    promoted(registry, 1, initial=True, reason="the first")
    promoted(registry, 2)
    promoted(registry, 3)
    return tmp_path


def verification(root: Path) -> Verification:
    return verify_environment(Registry(root), "production")


def problems(root: Path) -> list[RegistryProblem]:
    return [problem for prompt in verification(root).prompts for problem in prompt.problems]


def test_a_valid_registry_passes(root: Path) -> None:
    found = verification(root)
    (prompt,) = found.prompts
    assert (prompt.prompt, prompt.version, prompt.events, prompt.verdicts) == ("support", 3, 3, 3)
    assert prompt.problems == ()
    assert found.passes(strict=True)


def test_an_empty_registry_passes(tmp_path: Path) -> None:
    assert verification(tmp_path) == Verification(environment="production", prompts=())


@pytest.mark.parametrize(
    "pattern",
    [
        "versions/support@v3/version.json",
        "versions/support@v2/files/support.prompt.yml",
        "evidence/support@v3/*.cases.jsonl",
        "evidence/support@v2/*.cases.jsonl",
        "evidence/support@v3/????????????.json",
        "log/production/support/000002.json",
    ],
)
def test_one_byte_anywhere_is_found_and_the_file_is_named(root: Path, pattern: str) -> None:
    (path,) = (root / ".llmops").glob(pattern)
    content = path.read_bytes()
    at = content.index(b"sha256:" if b"sha256:" in content else b"Answer") + 8
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    found = problems(root)
    assert path.relative_to(root).as_posix() in [problem.where for problem in found]
    assert not verification(root).passes(strict=False)


def test_every_problem_is_found_at_once(root: Path) -> None:
    harmed = [*(root / ".llmops/evidence").rglob("*.cases.jsonl")]
    harmed += (root / ".llmops/versions").glob("support@v1/files/*.yml")
    for path in harmed:
        path.write_bytes(path.read_bytes() + b"\n")
    assert {path.relative_to(root).as_posix() for path in harmed} <= {
        problem.where for problem in problems(root)
    }


def test_removed_evidence_is_found(root: Path) -> None:
    (path,) = (root / ".llmops/evidence/support@v2").glob("????????????.json")
    path.unlink()
    found = problems(root)
    assert {Path(problem.where).name for problem in found} == {"000002.json", "000003.json"}
    assert all("that it cites is not here" in problem.message for problem in found)


def forged(root: Path, **changes: Any) -> None:
    """Replaces the last event by one with `changes`, digests and all."""
    registry = Registry(root)
    last = registry.history("production", "support")[-1]
    registry.event_file(last).unlink()
    registry.append(replace(last, **changes))


def test_a_verdict_that_the_scores_do_not_give_is_found(root: Path) -> None:
    strict = replace(facts(), policy=Policy(margin=0.01))
    forged(root, judged_by=(strict,))
    (problem,) = problems(root)
    assert "promoted on PASS, and its evidence gives INCONCLUSIVE" in problem.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decision": Decision.FAIL}, "it was promoted on FAIL"),
        ({"decision": Decision.INCONCLUSIVE}, "it was promoted on INCONCLUSIVE"),
        ({"decision": None}, "it was promoted on no verdict"),
        ({"evidence": ()}, "it cites no evidence"),
        ({"baseline_evidence": ()}, "does not compare with support@v2, which ran"),
        ({"from_version": None}, "it moves from nothing, which is not what ran then"),
    ],
)
def test_an_event_made_by_hand_is_found(root: Path, changes: dict[str, Any], message: str) -> None:
    forged(root, **changes)
    assert any(message in problem.message for problem in problems(root))
    assert not verification(root).passes(strict=False)


def test_evidence_of_another_version_is_found(root: Path) -> None:
    (of_two,) = Registry(root).evidence("support", 2)
    forged(root, evidence=(of_two.digest,))
    assert "its evidence is not about support@v3" in [problem.message for problem in problems(root)]


def test_an_event_that_points_at_another_snapshot_is_found(root: Path) -> None:
    last = Registry(root).history("production", "support")[-1]
    assert last.to_version is not None
    forged(root, to_version=replace(last.to_version, digest=last.digest))
    assert "is not the version that this event moved to" in problems(root)[0].message


def _override(last: Event, root: Path) -> Event:
    return event(released(root, "Else."), after=last, changes={"action": "override", "reason": "x"})


def _accepted(last: Event, root: Path) -> Event:
    version = released(root, "Else.")
    found = rows("Else.", V3, wrong=2)
    measured(root, version, Registry(root).version("support", 3), found=found)
    asked = replace(facts(), policy=Policy(margin=0.05))
    done = promoted(
        Registry(root),
        version.number,
        evalsets=[asked],
        accept_inconclusive=True,
        reason="we looked",
    )
    assert done.event is not None
    return done.event


@pytest.mark.parametrize(
    ("make", "message"),
    [(_override, "promoted by override: x"), (_accepted, "was accepted: we looked")],
)
def test_an_override_or_an_accepted_verdict_is_a_warning(
    root: Path, make: Callable[[Event, Path], Event], message: str
) -> None:
    registry = Registry(root)
    last = registry.history("production", "support")[-1]
    made = make(last, root)
    if not registry.event_file(made).exists():
        registry.append(made)
    (problem,) = problems(root)
    assert message in problem.message
    assert (verification(root).passes(strict=False), verification(root).passes(strict=True)) == (
        True,
        False,
    )


@pytest.mark.parametrize("make", [_override, _accepted])
def test_what_was_let_in_without_proof_and_no_longer_runs_fails_nothing(
    root: Path, make: Callable[[Event, Path], Event]
) -> None:
    registry = Registry(root)
    before = registry.history("production", "support")[-1]
    made = make(before, root)
    if not registry.event_file(made).exists():
        registry.append(made)
    assert not verification(root).passes(strict=True)
    changes = {"action": "rollback", "from_version": made.to_version, "reason": "it was bad"}
    registry.append(event(registry.version("support", 3), after=made, changes=changes))
    (problem,) = problems(root)
    assert problem.past
    assert verification(root).passes(strict=True)
    changes = {"action": "rollback", "from_version": before.to_version, "reason": "it was not"}
    again = registry.history("production", "support")[-1]
    assert made.to_version is not None
    number = made.to_version.number
    registry.append(event(registry.version("support", number), after=again, changes=changes))
    assert not verification(root).passes(strict=True)  # it runs again, and still has no proof


def test_a_quarantined_version_that_runs_is_a_warning(root: Path) -> None:
    registry = Registry(root)
    last = registry.history("production", "support")[-1]
    changes = {"action": "quarantine", "from_version": last.to_version, "to_version": None}
    registry.append(event(registry.version("support", 3), after=last, changes=changes))
    (problem,) = problems(root)
    assert (problem.message, problem.warning) == ("support@v3 runs, and is quarantined", True)


def test_deleted_rows_are_a_problem_only_for_what_runs(root: Path) -> None:
    (old,) = (root / ".llmops/evidence/support@v1").glob("*.cases.jsonl")
    old.unlink()
    assert (problems(root), verification(root).prompts[0].verdicts) == ([], 2)
    (new,) = (root / ".llmops/evidence/support@v3").glob("*.cases.jsonl")
    new.unlink()
    (problem,) = problems(root)
    assert (problem.message, problem.warning) == ("the rows behind its verdict are not here", False)


def test_a_clock_turned_back_is_no_problem(root: Path) -> None:
    forged(root, at="1999-01-01T00:00:00+00:00")
    assert problems(root) == []


def test_events_are_written_for_reviewers(root: Path) -> None:
    content = json.loads((root / ".llmops/log/production/support/000003.json").read_text())
    assert (content["seq"], content["action"], content["to_version"]["number"]) == (3, "promote", 3)
