"""The options of commands, each declared once: its name, its help and its panel in `--help`.

An option that several commands take is a type here, or a field of a group: a dataclass that a
command takes whole. Within a panel, what few people need stands last.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from llmops_cli.core.ci import store_folder
from llmops_cli.core.errors import Refused

if TYPE_CHECKING:
    from llmops_cli.engine.budget import Budget
    from llmops_cli.run.selection import Selection


def option(panel: str, help: str, *names: str, **more: Any) -> Any:  # noqa: A002, ANN401 - typer's
    """Declare an option of a panel."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def argument(metavar: str, help: str) -> Any:  # noqa: A002, ANN401 - typer's
    """Declare an argument."""
    return typer.Argument(metavar=metavar, help=help)


def file_option(panel: str, help: str, *names: str) -> Any:  # noqa: A002, ANN401 - typer's
    """Declare an option that names a file to write: no file of the project."""
    return option(panel, help, *names, metavar="FILE", callback=outside_project)


PROTECTED = (".llmops", "prompts", "evalsets")
"""Folders of the project that contain source files or evidence."""


def outside_project(context: typer.Context, value: Path | None) -> Path | None:
    """Return `value` if it names a file that can be written and is none of the project's.

    `eval --out llmops.yaml` is a typo that would overwrite the project.
    """
    if value is None or not isinstance(context.obj, Path):
        return value
    from llmops_cli.project.project import PROJECT_FILE, find_root

    try:
        places = (value.absolute(), value.resolve())
        if not value.exists() and not value.parent.is_dir():
            raise Refused(f"there is no folder {value.parent}", hint=f"mkdir -p {value.parent}")
    except (OSError, RuntimeError) as error:  # a circle of links is either, by Python's version
        why = error.strerror if isinstance(error, OSError) else "a circle of symbolic links"
        raise Refused(f"cannot write to {value}: {why}") from error
    try:
        root = find_root(context.obj)
    except Refused:
        return value  # there is no project; the command says so, if it needs one
    store = store_folder(root, os.environ)
    if any(_belongs_to(root, store, path) for path in places) or _same(value, root / PROJECT_FILE):
        raise Refused(
            f"{value} belongs to the project: reports are not written there",
            hint="name a file outside of prompts/, evalsets/ and .llmops/, as in run.jsonl.gz",
        )
    return value


def _belongs_to(root: Path, store: Path, path: Path) -> bool:
    """Return whether `path` is the project's. Reports may be in the store, over no database."""
    if any(path.is_relative_to(base) for base in (store, Path(os.path.realpath(store)))):
        return ".sqlite" in path.name
    for base in (root, root.resolve()):
        if path.is_relative_to(base):
            parts = path.relative_to(base).parts
            return parts[:1] != () and parts[0] in PROTECTED
    return False


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def expand_groups(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return `command` as Typer reads it: each field of a group is an option of its own.

    Typer takes the options from the signature. So the signature here has the fields of the groups,
    and the groups are built before the command is called.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name in groups:
            kinds = get_type_hints(groups[name], include_extras=True)
            parameters += [
                parameter.replace(
                    name=field.name, default=field.default, annotation=kinds[field.name]
                )
                for field in fields(groups[name])
            ]
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    @wraps(command)
    def call(**values: Any) -> Any:  # noqa: ANN401 - what Typer has parsed
        built = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**values, **built)

    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__signature__ = Signature(  # type: ignore[attr-defined]  # read by `inspect.signature`
        [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    return call


def _limit(value: float | None) -> float | None:
    """Refuse NaN as a limit: no number is greater, so it would limit nothing."""
    if value is not None and isnan(value):
        raise typer.BadParameter("nan is no limit")
    return value


AsJson = Annotated[bool, option("Output", "Print JSON.", "--json")]
GitHub = Annotated[
    bool,
    option(
        "Reports", "In GitHub Actions: also write job summary, annotations and outputs.", "--github"
    ),
]
DryRun = Annotated[bool, option("Budget", "Print what would be called and its cost.", "--dry-run")]
Offline = Annotated[
    bool, option("Cache", "Make no network calls: use cached results only.", "--offline")
]
MaxCost = Annotated[
    float | None, option("Budget", "Stop at this cost.", metavar="USD", min=0, callback=_limit)
]
MaxCalls = Annotated[
    int | None, option("Budget", "Stop after this many calls.", metavar="N", min=0)
]
Reuse = Annotated[
    list[Path] | None,
    option("Cache", "Reuse the results of a run file. Repeatable.", metavar="FILE"),
]

ShardName = Annotated[
    str | None,
    option(
        "Options",
        "Run only this part, without a verdict; `merge` decides. Needs --out. auto: of the CI job.",
        "--shard",
        metavar="I/N",
    ),
]
ShardFiles = Annotated[
    list[Path] | None, argument("FILE...", "The run files of all shards, in any order.")
]
Base = Annotated[
    str | None,
    option("Compare", "Refuse shards that were run with another --base.", metavar="REV"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """Which prompts and cases to evaluate."""

    prompts: Annotated[
        list[str] | None,
        argument(
            "[PROMPT]...", "Name, name@version, a glob over names, or an environment. Default: all."
        ),
    ] = None
    named: Annotated[
        list[str] | None,
        option("Select", "Same as the argument. Repeatable.", "--prompt", metavar="PROMPT"),
    ] = None
    changed: Annotated[
        str | None,
        option(
            "Select",
            "Only prompts that changed since this branch left REV: their files, evalsets, models "
            "or policy.",
            metavar="REV",
        ),
    ] = None
    evalset: Annotated[
        list[str] | None, option("Select", "Only this evalset. Repeatable.", metavar="NAME")
    ] = None
    tag: Annotated[
        list[str] | None,
        option("Select", "Only cases with this tag (partial run). Repeatable.", metavar="TAG"),
    ] = None
    case: Annotated[
        list[str] | None,
        option("Select", "Only this case, or a glob (partial run). Repeatable.", metavar="ID"),
    ] = None
    sample: Annotated[
        int | None,
        option("Select", "A random sample of N cases (partial run).", metavar="N", min=1),
    ] = None
    seed: Annotated[int, option("Select", "Seed of --sample.", metavar="N")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """What to compare the selected prompts with."""

    environment: Annotated[
        str | None,
        option(
            "Compare",
            "Compare with what this environment runs. Default: the last.",
            "--env",
            metavar="ENV",
        ),
    ] = None
    baseline: Annotated[
        str | None,
        option(
            "Compare",
            "Compare with this version instead: v3, NAME@v3, or a name.",
            metavar="VERSION",
        ),
    ] = None
    model: Annotated[
        str | None, option("Compare", "Run the candidate on another model.", metavar="MODEL")
    ] = None
    require_baseline: Annotated[
        bool, option("Compare", "Exit 2 if there is no baseline.", "--require-baseline")
    ] = False
    base: Annotated[
        str | None,
        option(
            "Compare",
            "Read policy and trust list at this git revision; a prompt that no environment runs "
            "is compared with its file there.",
            metavar="REV",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to stop."""

    max_cost: MaxCost = None
    max_calls: MaxCalls = None
    max_tokens: Annotated[
        int | None, option("Budget", "Stop after this many tokens.", metavar="N", min=0)
    ] = None
    max_seconds: Annotated[
        float | None,
        option(
            "Budget",
            "Start no call after this time.",
            metavar="SECONDS",
            min=0,
            callback=_limit,
        ),
    ] = None

    def budget(self) -> Budget:
        """Return the limits as the engine takes them."""
        from llmops_cli.engine.budget import Budget

        return Budget(
            calls=self.max_calls,
            tokens=self.max_tokens,
            cost=self.max_cost,
            seconds=self.max_seconds,
        )


def selection(select: Select, compare: Compare) -> Selection:
    """Return what two groups choose, as a run takes it."""
    from llmops_cli.run.selection import Selection

    return Selection(
        prompts=[*(select.prompts or ()), *(select.named or ())],
        evalsets=select.evalset or (),
        tags=select.tag or (),
        cases=select.case or (),
        model=compare.model,
        sample=select.sample,
        seed=select.seed,
        environment=compare.environment,
        baseline=compare.baseline,
    )


Strict = Annotated[bool, option("Compare", "Exit 4 if the result is INCONCLUSIVE.", "--strict")]
NoCache = Annotated[
    bool,
    option(
        "Cache",
        "Ignore the cache, and leave it as it is.",
        "--no-cache",
    ),
]
MoreTrials = Annotated[
    int,
    option(
        "Cache",
        "Add N trials of every case, on both sides, to the cached ones.",
        "--more-trials",
        metavar="N",
        min=0,
        show_default=False,
    ),
]
Commit = Annotated[bool, option("Git", "Commit what is written under .llmops/.", "--commit")]
Push = Annotated[bool, option("Git", "Commit, fetch and push the branch (never forced).", "--push")]
Environment = Annotated[
    str | None, option("Options", "The environment. Default: the last.", "--to", metavar="ENV")
]
Message = Annotated[
    str | None,
    option("Options", "Why. Recorded in the registry.", "--message", "-m", metavar="WHY"),
]

# Judges.
ScorerAddress = Annotated[
    str, argument("EVALSET:LABEL", "A scorer; its label alone if it is unique.")
]
Labels = Annotated[
    Path | None, option("Options", "Answers with human labels (JSONL, CSV).", metavar="FILE")
]
Draft = Annotated[Path | None, file_option("Options", "Write answers to label (.jsonl, .csv).")]
Answers = Annotated[
    int, option("Options", "How many answers --draft writes.", "--answers", min=1, metavar="N")
]
Canaries = Annotated[bool, option("Options", "Test the judge for prompt injection.", "--canaries")]
Require = Annotated[
    Literal["gate", "advisory"] | None,
    option("Options", "Exit 2 if the judge is rated lower."),
]

# Pull request comments.
PublishedReport = Annotated[
    Path, argument("REPORT", "Output of `report --json`; if missing, there is no verdict.")
]
PublishedFlaws = Annotated[
    Path | None,
    option("Options", "Output of `fsck --json`: broken files are listed.", metavar="FILE"),
]
Problem = Annotated[
    str, option("Options", "Why there is no report.", metavar="WHY", envvar="LLMOPS_PROBLEM")
]
GateName = Annotated[
    str, option("Options", "Name of the gate; each name has its own comment.", metavar="NAME")
]
Author = Annotated[
    str, option("Options", "Login that posts comments, if not GitHub Actions.", metavar="LOGIN")
]
CommentFile = Annotated[Path | None, file_option("Options", "Also write the comment to FILE.")]
