"""The pages tell the truth: what they show is run, what they name is there, what is there is named.

README's two first commands, which install, are run by `.ci/run` on a machine of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from llmops_cli.cli.main import full_app
from llmops_cli.core.policy import RULES, Policy
from llmops_cli.gate.paired_test import zero_loss_minimum
from llmops_cli.plugins.providers import PROVIDERS
from llmops_cli.plugins.scorers import SCORERS
from llmops_cli.project.schema import (
    Evidence,
    Gate,
    InputSchema,
    ModelParameters,
    WrittenCase,
    WrittenEnvironment,
    WrittenEvalset,
    WrittenModel,
    WrittenProject,
    WrittenPrompt,
)
from tests.architecture.pages import (
    PAGES,
    ROOT,
    Step,
    anchors,
    code,
    keys,
    links,
    read,
    section,
    session,
)
from tests.unit.gate.build import finding as judged
from tests.unit.gate.build import rows, verdict

SHOWN_AT = 96
"""Columns of the terminal that the pages show."""

STARTS_IN = {
    "README.md": ".",
    "docs/first-gate.md": None,
    "docs/using-prompts.md": "examples/application",
    "docs/applications.md": "examples/three-applications",
    "docs/rag.md": "examples/which-half-broke",
    "docs/judges.md": "examples/judge-calibration",
    **{page: str(Path(page).parent) for page in PAGES if page.startswith("examples/")},
}
"""Where a reader of a page with a session stands; None: in an empty folder."""

SETTINGS: dict[str, type[BaseModel]] = {
    "## llmops.yaml": WrittenProject,
    "### models": WrittenModel,
    "### environments": WrittenEnvironment,
    "### gate": Gate,
    "### evidence and trust": Evidence,
    "## prompts/NAME.prompt.yml": WrittenPrompt,
    "## evalsets/NAME.yaml": WrittenEvalset,
    "### cases": WrittenCase,
}
"""The sections of docs/files.md whose table lists the keys of a file."""


def keys_of(shape: type[BaseModel]) -> list[str]:
    """The keys of a file as people write them."""
    return [field.alias or name for name, field in shape.model_fields.items()]


def group_and_context() -> tuple[Any, Any]:
    group: Any = typer.main.get_command(full_app())
    return group, group.context_class(group, info_name="llmops")


def options() -> dict[str, set[str]]:
    """The options of every command."""
    group, context = group_and_context()
    everywhere = {name for param in group.get_params(context) for name in param.opts}
    return {
        name: {
            option
            for param in group.get_command(context, name).get_params(context)
            for option in (*param.opts, *param.secondary_opts)
        }
        | everywhere
        for name in group.list_commands(context)
    }


def test_every_option_and_argument_says_what_it_is() -> None:
    group, _ = group_and_context()
    silent = [
        f"{name} {parameter.name}"
        for name, command in (("llmops", group), *group.commands.items())
        for parameter in command.params
        if not (getattr(parameter, "help", None) or "").strip()
    ]
    assert silent == []


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A copy of the checkout, under git, as somebody has it who has just cloned it."""
    clone = tmp_path / "llmops"
    clone.mkdir()
    for name in ("prompts", "evalsets", "examples", ".llmops"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("store"))
    shutil.copy(ROOT / "llmops.yaml", clone)
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "cloned"]):
        subprocess.run(["git", *arguments], cwd=clone, check=True)
    return clone


RAG = "examples/rag-application/README.md"


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.needs("langgraph")) if page == RAG else page
        for page in STARTS_IN
    ],
)
def test_every_session_on_a_page_prints_what_the_page_shows(
    page: str, reader: Path, tmp_path: Path
) -> None:
    start = STARTS_IN[page]
    folder = tmp_path / "empty" if start is None else reader / start
    folder.mkdir(exist_ok=True)
    if start is None:
        subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, check=True)

    steps = session(page)
    differing = [
        f"$ {step.command}\n{printed}"
        for step in steps
        if not step.matches(printed := result(step, folder))
    ]

    assert steps
    assert differing == []


def result(step: Step, folder: Path) -> str:
    """What a command prints to standard output, in bash, with llmops on the path."""
    programs = Path(sys.executable).parent
    environ = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": str(SHOWN_AT),
    }
    return subprocess.run(
        ["bash", "-c", step.command],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
        timeout=120,
    ).stdout


def test_sessions_stand_only_on_pages_that_are_run() -> None:
    assert {page for page in PAGES if session(page)} - set(STARTS_IN) == set()


@pytest.mark.parametrize("script", ["generate.py", "figures.py"])
def test_the_generated_reference_and_pictures_are_up_to_date(script: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / script, "--check"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("heading", SETTINGS)
def test_every_key_of_a_file_is_explained_and_no_other(heading: str) -> None:
    assert sorted(keys(section("docs/files.md", heading))) == sorted(keys_of(SETTINGS[heading]))


@pytest.mark.parametrize("shape", [ModelParameters, InputSchema])
def test_every_parameter_and_every_word_of_an_input_is_named(shape: type[BaseModel]) -> None:
    named = re.findall(r"`([^`]+)`", section("docs/files.md", "## prompts/NAME.prompt.yml"))

    assert set(keys_of(shape)) - set(named) == set()


def test_every_command_scorer_provider_and_rule_has_its_entry() -> None:
    commands = anchors("docs/commands.md")
    files = anchors("docs/files.md")

    assert set(options()) - commands == set()
    assert set(SCORERS) - files == set()
    assert set(PROVIDERS) - set(keys(section("docs/files.md", "### providers"))) == set()
    assert set(RULES) - set(keys(section("docs/files.md", "### rules"))) == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    assert [link for link in links(page) if leads_nowhere(page, link)] == []


def leads_nowhere(page: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = ((ROOT / page).parent / path if path else ROOT / page).resolve()
    if not target.exists():
        return True
    return bool(anchor) and anchor not in anchors(target.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_command_or_an_option_that_is_not_there(page: str) -> None:
    known = options()
    unknown = []
    for line in code(page):
        for command, rest in re.findall(r"(?<![\w./-])llmops ([a-z]+)\b([^|;&#]*)", line):
            options_given = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest))
            if command not in known:
                unknown.append(f"llmops {command}")
            elif options_given - known[command]:
                unknown.append(f"llmops {command} {options_given - known[command]}")

    assert unknown == []


def test_the_address_to_install_from_is_the_projects_own() -> None:
    (address,) = set(re.findall(r"git\+(https://[\w./-]+)", read("docs/first-gate.md")))

    assert f'"{address}' in read("pyproject.toml")


def test_what_is_shown_must_match_and_what_is_left_out_may_be_anything() -> None:
    step = Step("llmops status", ("prompt runs", "…", "intent v2 …"))

    assert step.matches("prompt  runs\n\nqa v1\nintent  v2   since today\n")
    assert not step.matches("prompt  runs\nintent v3 since today\n")


def test_the_worked_example_of_a_verdict_is_what_the_gate_says() -> None:
    examples = re.findall(
        r"^\| (\d+) \| (\d+) \| (\S+) \| (\S+) to (\S+) \| (\w+) \|$",
        read("docs/verdict.md"),
        re.MULTILINE,
    )

    assert len(examples) == 3
    for regressed, improved, *shown in examples:
        finding = judged(verdict(rows(int(regressed), int(improved), n=120)), "no_worse")
        estimate = finding.estimate
        assert estimate is not None
        figures = (estimate.difference, estimate.lower, estimate.upper)
        rounded = [f"{100 * figure:+.1f}".replace("-", "−") for figure in figures]
        assert [*rounded, finding.decision.value] == shown


def test_the_smallest_evalsets_are_those_that_the_gate_needs() -> None:
    text = section("docs/verdict.md", "## Small evalsets")
    head, _, needed = re.findall(r"^\|.*$", text, re.MULTILINE)
    margins = [int(match) / 100 for match in re.findall(r"(\d+) ?%", head)]

    assert len(margins) == 5
    assert [zero_loss_minimum(margin, Policy().beta) for margin in margins] == [
        int(match) for match in re.findall(r"\d+", needed)
    ]
