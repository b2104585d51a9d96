"""Nothing enters an environment that the evidence does not let in, or somebody answers for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.core.errors import ExitCode, IntegrityBroken, Refused, UnknownName
from llmops_cli.core.policy import DEFAULT_RULES, Anchor, Critical, Decision, Floor, Policy, Rule
from llmops_cli.core.records import EvalsetFacts, Version
from llmops_cli.core.result import CaseResult
from llmops_cli.registry.promote import Promotion, breaking_changes
from llmops_cli.stores.registry import Registry
from tests.unit.releases import (
    ADA,
    CONTAINS,
    NOON,
    PRODUCTION,
    event,
    facts,
    measured,
    promoted,
    released,
    rows,
    side,
    target,
)
from tests.unit.stores.values import named

V1, V2, V3 = "Answer.", "Answer well.", "Answer better."


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (root / ".llmops").rglob("*") if path.is_file()}


@pytest.fixture
def running(tmp_path: Path) -> Version:
    """v1 runs in production."""
    version = released(tmp_path, V1)
    Registry(tmp_path).append(event(version))
    return version


def test_a_version_whose_evidence_passes_is_promoted(tmp_path: Path, running: Version) -> None:
    candidate = released(tmp_path, V2)
    evidence = measured(tmp_path, candidate, running, found=rows(V2, V1))
    done = promoted(Registry(tmp_path), 2, reason="kinder")
    assert done.exit_code is ExitCode.DONE
    written = Registry(tmp_path).pointer("production", "support")
    assert written == done.event
    assert written is not None
    assert (written.action, written.seq, written.decision) == ("promote", 2, Decision.PASS)
    assert (written.evidence, written.baseline_evidence) == ((evidence.digest,), ())
    assert (written.reason, written.run_url, written.actor) == ("kinder", "https://ci/7", ADA.by)
    assert (written.initial, written.accept_inconclusive) == (False, False)
    assert written.judged_by == (facts(),)


def test_a_version_that_fails_is_refused_with_1_and_nothing_is_written(
    tmp_path: Path, running: Version
) -> None:
    measured(tmp_path, released(tmp_path, V2), running, found=rows(V2, V1, wrong=20))
    before = files(tmp_path)
    done = promoted(Registry(tmp_path), 2, accept_inconclusive=True, reason="please")
    assert (done.exit_code, done.event) == (ExitCode.FAILED, None)
    assert "20" in done.why
    assert files(tmp_path) == before


def test_without_evidence_it_is_3_and_the_command_is_named(
    tmp_path: Path, running: Version
) -> None:
    released(tmp_path, V2)
    done = promoted(Registry(tmp_path), 2)
    assert (done.exit_code, done.event) == (ExitCode.INCOMPLETE, None)
    assert done.why == "support@v2 has no evidence"
    assert done.hint == "llmops measure support@v2 --to production"


def test_an_inconclusive_verdict_is_4_unless_it_is_accepted(
    tmp_path: Path, running: Version
) -> None:
    measured(tmp_path, released(tmp_path, V2), running, found=rows(V2, V1, wrong=2))
    registry = Registry(tmp_path)
    asked = [facts(policy=Policy(margin=0.05))]
    refused = promoted(registry, 2, evalsets=asked)
    assert (refused.exit_code, refused.event) == (ExitCode.INCONCLUSIVE, None)
    assert "--accept-inconclusive -m WHY" in str(refused.hint)
    done = promoted(registry, 2, evalsets=asked, accept_inconclusive=True, reason="we looked")
    assert done.exit_code is ExitCode.DONE
    assert done.event is not None
    assert (done.event.accept_inconclusive, done.event.decision) == (True, Decision.INCONCLUSIVE)


def test_an_environment_that_accepts_only_pass_refuses_an_accepted_inconclusive(
    tmp_path: Path, running: Version
) -> None:
    measured(tmp_path, released(tmp_path, V2), running, found=rows(V2, V1, wrong=2))
    strict = replace(PRODUCTION, accept="pass")
    asked = [facts(policy=Policy(margin=0.05))]
    done = promoted(
        Registry(tmp_path),
        2,
        evalsets=asked,
        environment=strict,
        accept_inconclusive=True,
        reason="we looked",
    )
    assert (done.exit_code, done.event) == (ExitCode.INCONCLUSIVE, None)


def test_a_first_promotion_needs_its_flag_and_a_reason(tmp_path: Path) -> None:
    measured(tmp_path, released(tmp_path, V1), None, found=rows(V1, None))
    registry = Registry(tmp_path)
    with pytest.raises(Refused, match="does not run support yet") as refused:
        promoted(registry, 1)
    assert "--initial -m WHY" in str(refused.value.hint)
    with pytest.raises(Refused, match="recorded with a reason"):
        promoted(registry, 1, initial=True)
    strict = replace(PRODUCTION, accept="pass")
    done = promoted(registry, 1, environment=strict, initial=True, reason="the first")
    assert done.exit_code is ExitCode.DONE
    assert done.event is not None
    assert (done.event.initial, done.event.from_version, done.event.seq) == (True, None, 1)


@pytest.mark.parametrize(
    ("rules", "code"),
    [((*DEFAULT_RULES, Floor(minimum=0.9)), ExitCode.FAILED), ((), ExitCode.INCONCLUSIVE)],
)
def test_a_first_promotion_needs_the_floor_and_some_rule(
    tmp_path: Path, rules: tuple[Rule, ...], code: ExitCode
) -> None:
    measured(tmp_path, released(tmp_path, V1), None, found=rows(V1, None, wrong=20))
    asked = [facts(policy=Policy(rules=rules))]
    done = promoted(Registry(tmp_path), 1, evalsets=asked, initial=True, reason="the first")
    assert (done.exit_code, done.event) == (code, None)


def test_initial_is_refused_where_something_runs(tmp_path: Path, running: Version) -> None:
    released(tmp_path, V2)
    with pytest.raises(Refused, match="runs support@v1 already"):
        promoted(Registry(tmp_path), 2, initial=True, reason="again")


def test_promoting_what_runs_already_writes_nothing(tmp_path: Path, running: Version) -> None:
    before = files(tmp_path)
    done = promoted(Registry(tmp_path), 1)
    assert done.exit_code is ExitCode.DONE
    assert "already" in done.why
    assert files(tmp_path) == before


def test_an_unknown_version_is_refused(tmp_path: Path, running: Version) -> None:
    with pytest.raises(UnknownName, match="support@v9"):
        promoted(Registry(tmp_path), 9)


# production moved after the evidence was made


def moved(root: Path, v3_rows: list[CaseResult], *, at: str = NOON) -> Promotion:
    """v3 was measured against v1; now v2 runs, with evidence of its own."""
    registry = Registry(root)
    one, two, three = (released(root, text) for text in (V1, V2, V3))
    measured(root, two, one, found=rows(V2, V1), at=at)
    measured(root, three, one, found=v3_rows)
    first = registry.pointer("production", "support")
    registry.append(event(two, after=first))
    return promoted(registry, 3)


def test_it_is_decided_again_against_what_runs_now(tmp_path: Path, running: Version) -> None:
    done = moved(tmp_path, rows(V3, V1))
    assert done.exit_code is ExitCode.DONE
    assert done.event is not None
    (of_two,) = Registry(tmp_path).evidence("support", 2)
    assert done.event.baseline_evidence == (of_two.digest,)
    assert done.event.from_version is not None
    assert done.event.from_version.number == 2


def test_decided_again_it_may_fail(tmp_path: Path, running: Version) -> None:
    done = moved(tmp_path, rows(V3, V1, wrong=30))
    assert (done.exit_code, done.event) == (ExitCode.FAILED, None)


@pytest.mark.parametrize(
    ("found", "at", "why"),
    [
        (rows(V3, V1, edited="other facts"), NOON, "60 cases of support were not measured alike"),
        ([*rows(V3, V1)[:59], replace(rows(V3, V1)[59], case="new")], NOON, "1 case of support"),
        (rows(V3, V1), "2026-08-01T12:00:00+00:00", "not known to be of the same 30 days"),
        (rows(V3, V1), "2016-08-01T12:00:00+00:00", "not known to be of the same 30 days"),
        (rows(V3, V1), "2036-08-01T12:00:00+00:00", "not known to be of the same 30 days"),
        (rows(V3, V1), "2026-06-01T12:00:00", "not known to be of the same 30 days"),
        (rows(V3, V1), "noon", "not known to be of the same 30 days"),
    ],
)
def test_scores_that_cannot_be_compared_are_measured_again(
    tmp_path: Path, running: Version, found: list[CaseResult], at: str, why: str
) -> None:
    done = moved(tmp_path, found, at=at)
    assert (done.exit_code, done.event) == (ExitCode.INCOMPLETE, None)
    assert why in done.why
    assert done.hint == "llmops measure support@v3 --to production"


def test_a_case_that_only_what_runs_now_was_measured_on_is_lost_coverage(
    tmp_path: Path, running: Version
) -> None:
    registry = Registry(tmp_path)
    one, two, three = (released(tmp_path, text) for text in (V1, V2, V3))
    measured(tmp_path, two, one, found=rows(V2, V1, cases=61))
    measured(tmp_path, three, one, found=rows(V3, V1))
    registry.append(event(two, after=registry.pointer("production", "support")))
    done = promoted(registry, 3)
    assert (done.exit_code, done.event) == (ExitCode.FAILED, None)
    assert "case-060" in done.why


def test_a_case_that_only_the_baseline_of_the_same_evidence_was_measured_on_is_lost_coverage(
    tmp_path: Path, running: Version
) -> None:
    found = rows(V2, V1)
    gone = CaseResult(
        evalset="support",
        case="gone",
        candidate=None,
        baseline=side(99, f"{V1} again", 1.0),
    )
    measured(tmp_path, released(tmp_path, V2), running, found=[*found, gone], evalset=facts())
    done = promoted(Registry(tmp_path), 2)
    assert (done.exit_code, done.event) == (ExitCode.FAILED, None)
    retired = replace(facts(), retired={"gone": "the product is gone"})
    assert promoted(Registry(tmp_path), 2, evalsets=[retired]).exit_code is ExitCode.DONE


# what is asked has changed since the evidence was made


def _asked(**changes: Any) -> list[EvalsetFacts]:
    return [replace(facts(), **changes)]


@pytest.mark.parametrize(
    ("asked", "code", "why"),
    [
        (_asked(digest=named("edited")), 3, "the evalset support has changed since"),
        ([facts(), facts(evalset="tone")], 3, "the evalset tone is not part of the evidence"),
        (
            _asked(metrics=(replace(CONTAINS, scorer=named("revised")),)),
            3,
            "the scorer contains of support is not the one that was measured",
        ),
        (
            _asked(policy=Policy(rules=(Anchor(version="v1"),))),
            3,
            "the anchor v1 of support was not measured",
        ),
        (_asked(policy=Policy(rules=(Critical(),))), 1, "case-000"),
        (
            _asked(
                metrics=(replace(CONTAINS, minimum=2.0),),
                policy=Policy(rules=(Floor(minimum=0.5),)),
            ),
            1,
            "0.0%",
        ),
    ],
)
def test_the_policy_and_the_evalsets_of_today_decide_not_those_it_was_measured_under(
    tmp_path: Path, running: Version, asked: list[EvalsetFacts], code: int, why: str
) -> None:
    found = rows(V2, V1, wrong=1)
    found[0] = replace(found[0], critical=True)
    lax = facts(policy=Policy(margin=0.2, rules=()))
    measured(tmp_path, released(tmp_path, V2), running, found=found, evalset=lax)
    done = promoted(Registry(tmp_path), 2, evalsets=asked)
    assert (done.exit_code, done.event) == (code, None)
    assert why in done.why


def test_one_edited_score_breaks_the_promotion(tmp_path: Path, running: Version) -> None:
    measured(tmp_path, released(tmp_path, V2), running, found=rows(V2, V1, wrong=20))
    (path,) = (tmp_path / ".llmops/evidence/support@v2").glob("*.cases.jsonl")
    path.write_text(path.read_text().replace("[0.0]", "[1.0]"))
    with pytest.raises(IntegrityBroken, match="not what was measured"):
        promoted(Registry(tmp_path), 2)


# order of environments, quarantine, inputs, overrides


def test_an_environment_that_comes_after_another_asks_for_it(tmp_path: Path) -> None:
    version = released(tmp_path, V1)
    measured(tmp_path, version, None, found=rows(V1, None))
    registry = Registry(tmp_path)
    later = replace(PRODUCTION, after="staging")
    first: dict[str, Any] = {"environment": later, "initial": True, "reason": "the first"}
    with pytest.raises(Refused, match="comes after staging") as refused:
        promoted(registry, 1, **first)
    assert refused.value.hint == "llmops promote support@v1 --to staging"
    staged = event(version, environment="staging")
    registry.append(staged)
    done = promoted(registry, 1, **first)
    assert done.event is not None
    assert done.event.came_from == staged.digest


def test_a_quarantined_version_needs_an_override(tmp_path: Path, running: Version) -> None:
    registry = Registry(tmp_path)
    two = released(tmp_path, V2)
    measured(tmp_path, two, running, found=rows(V2, V1))
    second = event(two, after=registry.pointer("production", "support"))
    registry.append(second)
    registry.append(event(running, after=second, changes={"action": "rollback"}))
    with pytest.raises(Refused, match="quarantined"):
        promoted(registry, 2)
    with pytest.raises(Refused, match="--override is recorded with a reason"):
        promoted(registry, 2, override=True)
    done = promoted(registry, 2, override=True, reason="it was the network")
    assert done.event is not None
    assert (done.event.action, done.event.decision) == ("override", None)
    assert registry.quarantined("support") == frozenset()


def test_callers_that_would_break_are_named() -> None:
    old = target().prompt
    new = replace(old, inputs={"query": {"type": "string"}, "limit": {"required": False}})
    assert breaking_changes(old, new) == [
        "the input 'question' was removed",
        "the input 'query' is now required",
    ]
    worded = replace(old, inputs={"question": {"type": "string", "description": "what is asked"}})
    assert breaking_changes(old, worded) == []
    typed = replace(old, inputs={"question": {"type": "integer"}})
    assert breaking_changes(old, typed) == ["the input 'question' has another schema"]
    optional = replace(old, inputs={"question": {"type": "string", "required": False}})
    assert breaking_changes(old, optional) == []
    assert breaking_changes(optional, old) == ["the input 'question' is now required"]


def test_one_side_serves_both_where_the_request_is_the_same() -> None:
    candidate = side(0, V1, 1.0)
    unmeasured = replace(candidate, planned=0, trials=())
    row = CaseResult(case="c", candidate=candidate, baseline=unmeasured)
    paired = row.against(row.baseline)
    assert paired.baseline == paired.candidate
