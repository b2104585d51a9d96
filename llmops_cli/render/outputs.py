"""A run in a dozen words and numbers, for the steps of a pipeline that come after it.

`verdict` is FAIL, INCOMPLETE, INCONCLUSIVE or PASS, the worst of all prompts'; UNCHANGED where
there was nothing to measure; ERROR where llmops stopped before there was a verdict. Values are
numbers, words of ours and digests: no text of a model is among them.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from llmops_cli.core.digest import digest
from llmops_cli.core.errors import ExitCode
from llmops_cli.core.report import Change, Report
from llmops_cli.core.verdict import Decision
from llmops_cli.render.machine import SCHEMA, as_json
from llmops_cli.render.phrases import SEVERITY

COUNTED: tuple[Change, ...] = ("critical", "lost", "gained", "failing", "unmeasured")


def overall(report: Report) -> str:
    """One word for the whole run."""
    if report.prompts:
        decisions = [each.verdict.decision for each in report.prompts]
        return min(decisions, key=SEVERITY.__getitem__).value
    done = report.exit_code is ExitCode.DONE
    return "UNCHANGED" if done else Decision.INCOMPLETE.value


def outputs(report: Report, *, exit_code: int) -> dict[str, str]:
    """Every output by its name."""
    every = [evalset for prompt in report.prompts for evalset in prompt.evalsets]
    blocked = [one for one in report.prompts if one.verdict.exit_code is not ExitCode.DONE]
    counts = {each: sum(one.changes.get(each, 0) for one in every) for each in COUNTED}
    return {
        "verdict": overall(report),
        "exit-code": str(int(exit_code)),
        "run-id": digest(SCHEMA, as_json(report)),
        "prompts": str(len(report.prompts)),
        "blocked": str(len(blocked)),
        "cases": str(sum(each.cases for each in every)),
        **{name: str(count) for name, count in counts.items()},
        "calls": str(report.calls),
        "reused": str(report.reused),
        "cost": "" if report.cost is None else f"{report.cost:.6f}",
    }


def output_lines(values: Mapping[str, str]) -> str:
    """`values` as GitHub's `GITHUB_OUTPUT` takes them; a value may have several lines.

    The word that ends a value is drawn at random, so that no value can end itself.
    """
    end = f"end-{secrets.token_hex(16)}"
    return "".join(f"{name}<<{end}\n{value}\n{end}\n" for name, value in values.items())
