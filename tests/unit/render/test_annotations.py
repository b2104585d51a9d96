from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from llmops_cli.core.errors import Location
from llmops_cli.core.report import Report, SourceLocations
from llmops_cli.render.github import LONGEST, PER_LEVEL, Annotation, remarks, workflow_commands
from tests import reports
from tests.hostile import HOSTILE

PLACES = SourceLocations(
    prompts={"intent": Location(path="prompts/intent.prompt.yml", line=1)},
    evalsets={"banking77": Location(path="evalsets/banking77.yaml", line=1)},
    cases={("banking77", "b77-0211"): Location(path="evalsets/banking77.jsonl", line=211)},
)
COMMAND = re.compile(r"::(error|warning|notice) (?:[a-z]+=[^,:\n\r]*)(?:,[a-z]+=[^,:\n\r]*)*::.*")


def lines(report: Report) -> list[str]:
    return workflow_commands(remarks(report, PLACES)).splitlines()


def test_a_failing_verdict_stands_at_its_prompt_and_a_critical_case_at_its_line() -> None:
    verdict, critical, *regressed = lines(reports.failing())
    assert verdict.startswith("::error file=prompts/intent.prompt.yml,line=1,title=FAIL intent::")
    assert critical == (
        "::error file=evalsets/banking77.jsonl,line=211,title=intent%3A b77-0211"
        "::critical, and fails"
    )
    assert [line.split(",")[0] for line in regressed] == [
        "::error file=evalsets/banking77.yaml"
    ] * 2


@pytest.mark.parametrize(
    ("report", "level"),
    [
        (reports.passing(), "notice"),
        (reports.inconclusive(), "warning"),
        (reports.incomplete(), "error"),
    ],
    ids=["pass", "inconclusive under warn", "incomplete"],
)
def test_the_level_of_a_verdict_is_what_it_does_to_the_pipeline(report: Report, level: str) -> None:
    assert {line.split()[0] for line in lines(report)} == {f"::{level}"}


def test_an_undecided_gate_that_blocks_is_an_error() -> None:
    (prompt,) = reports.inconclusive().prompts
    blocked = replace(prompt, verdict=replace(prompt.verdict, on_inconclusive="fail"))
    assert lines(reports.report(blocked))[0].startswith("::error ")


def test_github_shows_ten_of_a_level_and_the_tenth_counts_the_rest() -> None:
    annotations = [Annotation(level=level, title="t", message=str(at))
             for level in ("error", "notice") for at in range(37)]  # fmt: skip
    shown = workflow_commands(annotations).splitlines()
    assert Counter(line.split()[0] for line in shown) == {"::error": 10, "::notice": 10}
    assert PER_LEVEL == 10
    assert [line.rpartition("::")[2] for line in shown[:9]] == [str(at) for at in range(9)]
    assert "28 more errors" in shown[9]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_ends_a_command_begins_another_or_is_too_long(text: str) -> None:
    where = Location(path=f"prompts/{text[:100]}", line=1)
    annotation = Annotation(level="error", title=text, message=f"{text}\n{text}", where=where)
    (line,) = workflow_commands([annotation]).splitlines()
    assert COMMAND.fullmatch(line)
    assert "##[" not in line
    message = line.split("::", 2)[2].replace("%0A", "\n").replace("%25", "%")
    assert len(message) <= LONGEST


def test_sixty_prompts_that_pass_unmoved_say_nothing() -> None:
    (prompt,) = reports.passing().prompts
    calm = replace(
        prompt, evalsets=tuple(replace(evalset, changes={}) for evalset in prompt.evalsets)
    )
    sixty = [replace(calm, prompt=f"p{at}") for at in range(60)]
    assert lines(reports.report(*sixty)) == []
