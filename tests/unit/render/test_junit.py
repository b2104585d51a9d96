from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import Decision
from llmops_cli.core.report import Report
from llmops_cli.render.junit import junit_report
from tests import reports

JENKINS = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time"},
        {"properties", "testcase"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": (
        {"name", "classname", "time"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    **dict.fromkeys(("skipped", "error", "failure"), ({"type", "message"}, set[str]())),
    "system-out": (set(), set()),
}
"""What Jenkins' junit-10.xsd allows of what we write: attributes and children of each element."""


def parsed(report: Report) -> ET.Element:
    return ET.fromstring(junit_report(report))  # noqa: S314 - our own output


def outcomes(report: Report) -> dict[str, str]:
    """`suite/test` to failure, error, skipped or green."""
    results = {}
    for suite in parsed(report):
        for test in suite.iter("testcase"):
            marks = [child.tag for child in test if child.tag in {"failure", "error", "skipped"}]
            results[f"{suite.get('name')}/{test.get('name')}"] = (marks or ["green"])[0]
    return results


REQUIRED = {
    "testsuite": {"name", "tests", "failures", "errors"},
    "testcase": {"name"},
    "property": {"name", "value"},
}
"""Of these, what it asks for."""
TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")
"""Its `SUREFIRE_TIME`."""
RESULTS = ("failure", "error", "skipped")

ALL = pytest.mark.parametrize("report", reports.ALL.values(), ids=reports.ALL)


@ALL
def test_jenkins_accepts_every_report(report: Report) -> None:
    root = parsed(report)
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, children = JENKINS[element.tag]
        assert set(element.keys()) <= attributes
        assert {child.tag for child in element} <= children
        assert REQUIRED.get(element.tag, set()) <= set(element.keys())
        assert TIME.fullmatch(element.get("time", "0"))


@ALL
def test_gitlab_reads_every_test_once_and_one_result_of_it(report: Report) -> None:
    """It names a test by class and name, takes one result, and shows what stands in it."""
    written = junit_report(report)
    assert len(written.encode()) < 30_000_000  # GitLab reads no more of a job
    seen = set()
    for suite in ET.fromstring(written):  # noqa: S314 - our own output
        tests = list(suite.iter("testcase"))
        for test in tests:
            name = (test.get("classname"), test.get("name"))
            assert all(name)
            assert name not in seen
            seen.add(name)
            results = [child for child in test if child.tag in RESULTS]
            assert len(results) <= 1
            assert all(result.text for result in results)
        counted = {
            "tests": len(tests),
            "failures": len(list(suite.iter("failure"))),
            "errors": len(list(suite.iter("error"))),
            "skipped": len(list(suite.iter("skipped"))),
        }
        assert {name: int(str(suite.get(name))) for name in counted} == counted


@pytest.mark.parametrize(
    ("code", "shown"), [(ExitCode.DONE, "green"), (ExitCode.INCOMPLETE, "error")]
)
def test_a_run_without_prompts_is_green_if_there_was_nothing_to_measure(
    code: ExitCode, shown: str
) -> None:
    assert outcomes(reports.report(exit_code=code)) == {"llmops/run": shown}


@pytest.mark.parametrize(("policy", "shown"), [("warn", "skipped"), ("fail", "error")])
def test_an_undecided_gate_is_never_green(policy: str, shown: str) -> None:
    (prompt,) = reports.inconclusive().prompts
    verdict = replace(prompt.verdict, on_inconclusive=policy)  # type: ignore[arg-type]  # parametrised
    results = outcomes(reports.report(replace(prompt, verdict=verdict)))
    assert results["support/verdict"] == shown
    assert results["support/no_worse pass"] == shown


def test_a_case_that_a_failing_finding_names_is_a_failure_whatever_its_change() -> None:
    (prompt,) = reports.no_baseline().prompts
    guilty = replace(prompt.verdict.findings[0], decision=Decision.FAIL, cases=("b77-0001",))
    verdict = replace(prompt.verdict, decision=Decision.FAIL, findings=(guilty,))
    results = outcomes(reports.report(replace(prompt, verdict=verdict)))
    assert results["intent on banking77/b77-0001"] == "failure"


def test_a_hundred_thousand_cases_become_a_thousand_and_a_count() -> None:
    suites = parsed(reports.enormous())
    (suite,) = (suite for suite in suites if "banking77" in str(suite.get("name")))
    about = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert about == {"cases": "308", "shown": "1000", "hidden": "99000"}
    assert len(list(suite.iter("testcase"))) == 1_000
