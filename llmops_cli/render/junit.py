"""Writes a report as JUnit XML, the form that every CI server reads.

A suite per prompt holds its verdict and findings; a suite per prompt and evalset holds the shown
cases. What is green, yellow and red follows the gate:

- a finding or verdict that is FAIL is a `failure`; INCOMPLETE is an `error`; INCONCLUSIVE is
  `skipped` where the policy only warns, and an `error` where it does not accept it;
- a case is a `failure` where a failing finding names it, or where it regressed and the verdict is
  FAIL; one that was not measured is an `error`; one that fails without deciding anything is
  `skipped`, with the reason. Only what was measured and passes is green.

At most 1,000 cases of a suite are written, worst first; its property `hidden` counts the rest.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from llmops_cli.core.errors import ExitCode
from llmops_cli.core.policy import Decision, Verdict
from llmops_cli.core.report import EvalsetReport, JudgeSummary, PromptReport, Report, ShownCase
from llmops_cli.render import formatting
from llmops_cli.render.safe_text import clip, shortened, terminal_line, visible

_MESSAGE = 1_000
_ANSWER = 4_000
_CASES = 1_000
Result = Failure | Error | Skipped


def junit_report(report: Report) -> str:
    """Return the report as an XML document in UTF-8, the same for equal reports."""
    document = JUnitXml("llmops")
    for prompt in report.prompts:
        document.add_testsuite(_gate(prompt))
        for evalset in prompt.evalsets:
            document.add_testsuite(_evalset(prompt, evalset))
    if not report.prompts:
        done = report.exit_code is ExitCode.DONE
        run = _test("llmops", "run", None if done else _error("nothing was evaluated"))
        document.add_testsuite(_suite("llmops", [run], {}))
    for suite in document:  # totals on the root too would break Jenkins' schema
        suite.update_statistics()  # type: ignore[no-untyped-call]  # half typed library
    written = io.BytesIO()
    document.write(written, pretty=True)
    return written.getvalue().decode("utf-8")


def _gate(prompt: PromptReport) -> TestSuite:
    """Return the verdict of a prompt and each finding."""
    verdict = prompt.verdict
    where = f"llmops.{prompt.prompt}"
    tests = [_test(where, "verdict", _decided(verdict, verdict.decision, verdict.why))]
    several = len(prompt.evalsets) > 1
    tests += [
        _test(
            where,
            formatting.rule(finding, several=several),
            _decided(verdict, finding.decision, finding.why),
        )
        for finding in verdict.findings
    ]
    sides = {"candidate": prompt.candidate, "baseline": prompt.baseline or "none"}
    return _suite(prompt.prompt, tests, sides)


def _decided(verdict: Verdict, decision: Decision, why: str) -> Result | None:
    match decision:
        case Decision.PASS:
            return None
        case Decision.FAIL:
            return Failure(_attribute(why), "FAIL")
        case Decision.INCONCLUSIVE if verdict.on_inconclusive == "warn":
            return Skipped(_attribute(f"INCONCLUSIVE: {why}"), "INCONCLUSIVE")
        case _:
            return Error(_attribute(why), decision.value)


def _evalset(prompt: PromptReport, evalset: EvalsetReport) -> TestSuite:
    blamed = {
        case
        for finding in prompt.verdict.findings
        if finding.decision is Decision.FAIL
        for case in finding.cases
    }
    failed = prompt.verdict.decision is Decision.FAIL
    where = f"llmops.{prompt.prompt}.{evalset.evalset}"
    tests = []
    for shown in evalset.shown[:_CASES]:
        guilty = shown.case in blamed or (failed and shown.change in {"critical", "regressed"})
        test = _test(where, shown.case, _judged(shown, guilty=guilty))
        test.system_out = visible(_account(shown))
        tests.append(test)
    hidden = len(evalset.shown) + evalset.hidden - len(tests)
    judges = {f"judge {judge.label}": _judge(judge) for judge in evalset.judges}
    counts = {"cases": evalset.cases, "shown": len(tests), "hidden": hidden, **judges}
    return _suite(f"{prompt.prompt} on {evalset.evalset}", tests, counts)


def _judge(judge: JudgeSummary) -> str:
    if judge.j is None:
        return judge.status
    return f"{judge.status}: J {judge.j:.2f} on {judge.labeled} labels"


def _judged(shown: ShownCase, *, guilty: bool) -> Result | None:
    """Return what one case shows in the CI server; None is green."""
    change = shown.change
    meaning = f"{change}: {formatting.change_meaning(shown)}"
    if guilty:
        return Failure(_attribute(meaning), change)
    passed = None if shown.candidate is None else shown.candidate.passed
    if change == "unmeasured" or (passed is None and change != "removed"):
        return _error(meaning)
    if change == "removed" or (passed or 0.0) < 0.5:
        return Skipped(_attribute(f"{meaning}; it decides nothing alone"), change)
    return None


def _account(shown: ShownCase) -> str:
    """Return inputs, expected answer and answers of a case."""
    parts = [(name, formatting.plain(value)) for name, value in shown.inputs.items()]
    parts += [("expected", formatting.plain(shown.expected))] if shown.expected is not None else []
    for when, side in (("before", shown.baseline), ("after", shown.candidate)):
        for trial in side.trials if side else ():
            scores = [*map(formatting.score, trial.scores)]
            parts.append((when, "\n".join([formatting.answer(trial), *scores])))
    return "\n\n".join(f"{name}:\n{shortened(text, _ANSWER)}" for name, text in parts)


def _error(message: str) -> Error:
    return Error(_attribute(message), "unmeasured")


def _test(where: str, name: str, result: Result | None) -> TestCase:
    test = TestCase(_attribute(name), _attribute(where))
    if result is not None:
        result.text = result.message  # GitLab shows the content, Jenkins the attribute
        test.result = [result]
    return test


def _suite(name: str, tests: list[TestCase], about: Mapping[str, object]) -> TestSuite:
    suite = TestSuite(_attribute(name))
    for key, value in about.items():  # schemas want the properties before the tests
        suite.add_property(key, _attribute(str(value)))
    suite.add_testcases(tests)
    return suite


def _attribute(text: str) -> str:
    """Return one line of `_MESSAGE` characters: XML makes a newline in an attribute a blank."""
    return visible(terminal_line(clip(text, characters=_MESSAGE).text))
