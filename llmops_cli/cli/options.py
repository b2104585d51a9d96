"""The options of commands, each declared once: those that several commands take, and the lists
of those that take many.
"""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Annotated, Literal

import typer

from llmops_cli.cli.output_paths import elsewhere

AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show every finding and whole answers.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict lines only.")]

# What to measure, and what to compare it with.
Prompts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PROMPT]...",
        help="name, name@version, a glob over names, or an environment; default: all",
    ),
]
NamedPrompts = Annotated[
    list[str] | None,
    typer.Option("--prompt", metavar="PROMPT", help="The same as an argument. Repeatable."),
]
Changed = Annotated[
    str | None,
    typer.Option(
        metavar="REV",
        help="Only prompts that changed since this branch left REV: their own files, "
        "evalsets, models or policy.",
    ),
]
Evalsets = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only this evalset. Repeatable."),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(metavar="TAG", help="Only cases with this tag (a partial run). Repeatable."),
]
CaseIds = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="Only this case, or a glob (a partial run). Repeatable."),
]
OtherModel = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Answer the candidate with this model instead."),
]
Sample = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="A random sample of cases (a partial run)."),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Which sample.")]
Against = Annotated[
    str | None,
    typer.Option(
        "--env", metavar="ENV", help="Compare with what this environment runs; default: the last."
    ),
]
Baseline = Annotated[
    str | None, typer.Option(metavar="NAME@VERSION", help="Compare with this instead.")
]
RequireBaseline = Annotated[
    bool, typer.Option("--require-baseline", help="Refuse to run without a baseline.")
]
Base = Annotated[
    str | None,
    typer.Option(
        metavar="REV",
        help="Read policy and trust list at this git revision; what nothing runs of yet is "
        "compared with the prompt there.",
    ),
]

# How to measure it.
Strict = Annotated[bool, typer.Option("--strict", help="Exit 4 where the verdict is INCONCLUSIVE.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be called and what it would cost.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Call nothing over a network: only what is held.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Draw anew instead of reusing what is held.")]


def _limit(value: float | None) -> float | None:
    """A limit that holds: nothing is ever more than NaN."""
    if value is not None and isnan(value):
        raise typer.BadParameter("nan is no limit")
    return value


MaxCost = Annotated[
    float | None,
    typer.Option(min=0, metavar="USD", callback=_limit, help="Stop before spending more."),
]
MaxCalls = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Stop before making more calls.")
]
MaxTokens = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Stop before using more tokens.")
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(min=0, metavar="SECONDS", callback=_limit, help="Start no call after this time."),
]
Reuse = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Take over the answers of a run file. Repeatable."),
]

# The forms of a report.
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", callback=elsewhere, help="Write the run file (.jsonl, .jsonl.gz)."
    ),
]
Junit = Annotated[
    Path | None, typer.Option(metavar="FILE", callback=elsewhere, help="Write JUnit XML.")
]
Markdown = Annotated[
    Path | None,
    typer.Option(metavar="FILE", callback=elsewhere, help="Write the report as Markdown."),
]
Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", callback=elsewhere, help="Write the report as a page, with every case."
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option(metavar="FILE", callback=elsewhere, help="Write every draw of every case as CSV."),
]
Parquet = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        callback=elsewhere,
        help="The same as Parquet (the extra `parquet` writes it).",
    ),
]
GitHub = Annotated[
    bool,
    typer.Option(
        "--github", help="In GitHub Actions: job summary, annotations and outputs as well."
    ),
]

# What moves environments, and what brings it into git.
Version = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="for example support@v3")]
To = Annotated[str | None, typer.Option(metavar="ENV", help="The environment; default: the last.")]
Message = Annotated[
    str | None, typer.Option("--message", "-m", metavar="WHY", help="Why: recorded.")
]
MeasureFirst = Annotated[
    bool, typer.Option("--measure", help="Draw what the evidence lacks first: calls models.")
]
RunFiles = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Make the evidence of this run file of `measure --out`."),
]
Initial = Annotated[
    bool, typer.Option("--initial", help="The first version there: nothing to compare with.")
]
AcceptInconclusive = Annotated[
    bool, typer.Option("--accept-inconclusive", help="Answer for what the gate cannot tell.")
]
AcceptBreaking = Annotated[
    bool, typer.Option("--accept-breaking", help="Callers have to pass other inputs.")
]
Override = Annotated[
    bool, typer.Option("--override", help="Whatever the evidence says: loud ever after.")
]
Commit = Annotated[
    bool, typer.Option("--commit", help="Commit to git what is written under .llmops/.")
]
Push = Annotated[
    bool,
    typer.Option("--push", help="Commit, and push the branch: after a fetch, and never forced."),
]

# Whether a judge may gate.
ScorerAddress = Annotated[
    str, typer.Argument(metavar="EVALSET:LABEL", help="a scorer; its label alone, if unique")
]
Labels = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Answers with people's labels (JSONL, CSV)."),
]
Draft = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", callback=elsewhere, help="Write answers to be labelled (.jsonl, .csv)."
    ),
]
Answers = Annotated[
    int, typer.Option("--answers", min=1, metavar="N", help="How many --draft writes.")
]
Canaries = Annotated[
    bool, typer.Option("--canaries", help="Try whether answers can talk the judge round.")
]
Require = Annotated[
    Literal["gate", "advisory"] | None,
    typer.Option(help="Exit 2 where the judge is found to be less."),
]

# What a comment on a pull request is made of.
PublishedReport = Annotated[
    Path,
    typer.Argument(
        metavar="REPORT", help="what `report --json` printed; none there: there is no verdict"
    ),
]
PublishedFlaws = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="What `fsck --json` printed: broken files are told."),
]
Problem = Annotated[
    str,
    typer.Option(
        metavar="WHY", envvar="LLMOPS_PROBLEM", help="Why there is no report, in that case."
    ),
]
GateName = Annotated[
    str, typer.Option(metavar="NAME", help="Which gate: each name has its own comment.")
]
Author = Annotated[
    str,
    typer.Option(metavar="LOGIN", help="Who comments: another, where the token is not a job's."),
]
CommentFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", callback=elsewhere, help="Write the comment here as well."),
]
