"""Options that several commands take, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show every finding and whole answers.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 4 where the verdict is INCONCLUSIVE.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be called and what it would cost.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Call nothing over a network: only what is held.")
]
Evalsets = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only this evalset. May be given again."),
]
Version = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="for example support@v3")]
MaxCost = Annotated[
    float | None, typer.Option(min=0, metavar="USD", help="Stop before spending more.")
]
MaxCalls = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Stop before making more calls.")
]
Junit = Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")]
Markdown = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the report as Markdown.")
]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the report as a page, with every case.")
]
Csv = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write every draw of every case as CSV.")
]
Parquet = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The same as Parquet (the extra `parquet` writes it)."),
]
Commit = Annotated[
    bool, typer.Option("--commit", help="Commit to git what is written under .llmops/.")
]
Push = Annotated[
    bool,
    typer.Option("--push", help="Commit, and push the branch: after a fetch, and never forced."),
]
Message = Annotated[
    str | None, typer.Option("--message", "-m", metavar="WHY", help="Why: recorded.")
]
Reuse = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Take over the answers of a run file. Repeatable."),
]
GitHub = Annotated[
    bool,
    typer.Option(
        "--github", help="In GitHub Actions: job summary, annotations and outputs as well."
    ),
]
