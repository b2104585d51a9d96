"""The gate, run in this process on a real project, and a server whose answers a test can change."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from llmops_cli.cli.output import FORMS, RunSinks
from llmops_cli.commands.evaluate import Evaluated, evaluate, unseen
from llmops_cli.core.policy import Decision, Finding, Verdict
from llmops_cli.core.report import EvalsetReport, MetricSummary, PromptReport, Report
from llmops_cli.registry.measure import Measured, measure
from llmops_cli.registry.promote import Promotion, PromotionRequest, promote
from llmops_cli.registry.release import release as release_prompts
from llmops_cli.run.selection import Between, EvalOptions, Selection
from llmops_cli.run.workspace import open_workspace
from tests.projects import Project
from tests.servers.faulty import Reply, Server, echo

CASES = 30
MARGIN = 0.1


class Result:
    """What a run was, opened up."""

    def __init__(self, done: Evaluated) -> None:
        self.done = done

    @property
    def report(self) -> Report:
        assert self.done.report is not None
        return self.done.report

    @property
    def prompt(self) -> PromptReport:
        (prompt,) = self.report.prompts
        return prompt

    @property
    def evalset(self) -> EvalsetReport:
        (evalset,) = self.prompt.evalsets
        return evalset

    @property
    def verdict(self) -> Verdict:
        return self.prompt.verdict

    @property
    def decision(self) -> Decision:
        return self.verdict.decision

    @property
    def passing(self) -> MetricSummary:
        return next(each for each in self.evalset.metrics if each.label == "pass")

    def findings(self, rule: str) -> list[Finding]:
        return [finding for finding in self.verdict.findings if finding.rule == rule]

    def finding(self, rule: str) -> Finding:
        (found,) = self.findings(rule)
        return found


def gate(
    project: Project,
    *prompts: str,
    environ: Mapping[str, str] | None = None,
    between: Between | None = None,
    select: Mapping[str, Any] | None = None,
    **wishes: Any,
) -> Result:
    """`llmops eval *prompts`; `select` are fields of `Selection`, `out`, `csv` … its options."""
    selection = Selection(prompts=prompts, **(select or {}))
    sinks = RunSinks(**{name: wishes.pop(name, None) for name in FORMS}).files()
    options = EvalOptions(selection=selection, between=between, **wishes)
    return Result(evaluate(project.root, options, sinks=sinks, environ=environ))


def release(project: Project) -> int:
    """Release the working prompt and return its number."""
    with open_workspace(project.root) as workspace:
        (made,) = release_prompts(workspace, [project.name])
    return made.version.number


def measured(project: Project, number: int) -> Measured:
    """Run `llmops measure`."""
    selection = Selection(prompts=[f"{project.name}@v{number}"])
    return measure(project.root, EvalOptions(selection=selection), progress=unseen)


def promotion(project: Project, number: int, **request: Any) -> Promotion:
    """Run `llmops promote`."""
    promotion_request = PromotionRequest(address=f"{project.name}@v{number}", **request)
    return promote(project.root, promotion_request, environ=os.environ)


def promoted(project: Project) -> int:
    """Release, measure and promote the working prompt, whatever the evidence says."""
    number = release(project)
    measured(project, number)
    done = promotion(project, number, reason="for a test", initial=number == 1, override=number > 1)
    assert done.event is not None, done.why
    return number


def wrong_on(questions: Collection[str], *, system: str | None = None) -> Reply:
    """Echoes, but not on `questions` where the system message is `system` (None: any)."""

    def reply(body: Mapping[str, Any]) -> str:
        text = echo(body)
        asked = system is None or body["messages"][0]["content"] == system
        return "no idea" if asked and text in questions else text

    return reply


def questions(count: int) -> set[str]:
    """The questions of the first cases."""
    return {f"say {at}" for at in range(count)}


def worsen(project: Project, server: Server, count: int, system: str = "Worse.") -> None:
    """Change the prompt to one that answers the first `count` cases wrongly."""
    server.reply = wrong_on(questions(count), system=system)
    project.prompt(system=system)


def set_gate(project: Project, gate: Mapping[str, Any]) -> None:
    """Write the options of the gate to llmops.yaml."""
    project.settings = {"gate": gate}
    project.llmops_yaml()


def add_model(project: Project, server: Server) -> None:
    """Add the model `other` of the same server to llmops.yaml."""
    project.models = {"other": {"provider": "openai", "model": "other", "base_url": server.url}}
    project.llmops_yaml()


def write_evalset(
    project: Project, name: str, cases: Sequence[Mapping[str, Any]], *, prompt: str = "support"
) -> None:
    """Write a further evalset, with its cases in the same file."""
    content = {"prompt": prompt, "scorers": [{"exact": "{{ expected }}"}], "cases": cases}
    project.write(f"evalsets/{name}.yaml", json.dumps(content))
