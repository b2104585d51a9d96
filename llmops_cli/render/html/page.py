"""Fills the template of the page: what is shown, its style, its script and its data, in one file.

The file loads nothing: its Content Security Policy only allows its own script and style sheet, by
their digests. Verdict, findings and figures are plain HTML and need no script; the script shows the
cases, as text nodes only.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from llmops_cli.core.digest import NotCanonical, digest
from llmops_cli.core.policy import Decision
from llmops_cli.core.redact import Redactor
from llmops_cli.core.report import CaseStream, PromptReport, Report
from llmops_cli.render import formatting
from llmops_cli.render.html import sections
from llmops_cli.render.html.cases import CaseBlocks, PageLimits
from llmops_cli.render.html.escape import PageText
from llmops_cli.render.json import SCHEMA, as_json

FEW = 5
"""Passing prompts that are listed one by one; more are folded away together."""


def html_report(
    report: Report,
    cases: CaseStream,
    *,
    redact: Redactor,
    room: PageLimits | None = None,
    about: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the page in pieces, the cases among them as they are taken from `cases`.

    `about` says when and how the run was made: command, date, commit, versions.
    """
    text = PageText(redact)
    style, script = _asset("page.css"), _asset("page.js")
    prompts = sections.worst_first(report)
    passing = [prompt for prompt in prompts if prompt.verdict.decision is Decision.PASS]
    folded = passing if FEW < len(passing) < len(prompts) else []
    yield from _template(text).generate(
        report=report,
        prompts=prompts,
        unfolded=prompts[: len(prompts) - len(folded)],
        passing_prompts=folded,
        title=_title(report, prompts),
        decisions=_decisions(prompts),
        overview=sections.overview(prompts),
        warnings=formatting.warnings(report),
        worst_cases=sections.worst_cases(report),
        closing=" · ".join([*formatting.closing(report, prompts), formatting.tokens(report)]),
        scorer_calls=sections.scorer_calls(report),
        about=about,
        run=_run(report),
        blocks=CaseBlocks(text, room).written(cases),
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        case_links=lambda prompt, finding: sections.case_links(text, prompt, finding),
    )


def _template(text: PageText) -> Any:  # noqa: ANN401 - jinja's Template
    """Return the template, which escapes every value."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else text.line(_written(value)),
        trim_blocks=True,
    )
    environment.globals = {
        **{name: getattr(formatting, name) for name in sections.FORMATTING},
        **{name: getattr(sections, name) for name in sections.FUNCTIONS},
        "count": _count,
    }
    return environment.from_string(_asset("page.html"))


def _written(value: object) -> str:
    return f"{value:,}" if type(value) is int else str(value)


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )


def _source(text: str) -> str:
    """Return a CSP source expression: the digest of an inline style or script."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _title(report: Report, prompts: Sequence[PromptReport]) -> str:
    if not prompts:
        return formatting.nothing(report)
    word = prompts[0].verdict.decision.value
    return f"{word} · {prompts[0].prompt if len(prompts) == 1 else _count(prompts)}"


def _count(prompts: Sequence[PromptReport]) -> str:
    """Return `2 of 60 prompts do not pass the gate`: of the worst decision there is."""
    worst = prompts[0].verdict.decision
    count = sum(prompt.verdict.decision is worst for prompt in prompts)
    singular, plural = sections.VERDICTS[worst]
    if count == len(prompts):
        return f"All {count} prompts {plural}"
    return f"{count} of {len(prompts)} prompts {plural if count > 1 else singular}"


def _decisions(prompts: Sequence[PromptReport]) -> str:
    counts = Counter(prompt.verdict.decision for prompt in prompts)
    return ", ".join(
        f"{counts[decision]} {decision.value}" for decision in Decision if counts[decision]
    )


def _run(report: Report) -> str:
    """Return what names the run, here as in CI: its report's digest. Half a character has none."""
    try:
        return f" · run {digest(SCHEMA, as_json(report))}"
    except NotCanonical:
        return ""
