"""Every command once, as a user runs it: the important words, help that fits, JSON."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.cli.main import run
from tests.projects import Project, Result, make_cases, make_project
from tests.servers.faulty import FaultServer, Server, echo

CASES = 30
NARROW = {"COLUMNS": "80"}


def reply(body: Mapping[str, Any]) -> str:
    """The question; nothing useful where the prompt asks for it."""
    text = echo(body)
    careless = body["messages"][0]["content"] == "Answer carelessly."
    return "no idea" if careless and not text.endswith("1") else text


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with FaultServer(reply=reply) as running:
        yield running


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("template") / "project"


@pytest.fixture
def project(template: Path, tmp_path: Path, server: Server) -> Project:
    """Production runs v1; v2 is released and measured; v3 is what is being worked on."""
    built = Project(root=template, url=server.url, settings={"gate": {"margin": 0.1}})
    if not template.exists():
        built = make_project(template, server.url, cases=CASES)
        built.settings = {"gate": {"margin": 0.1}}
        built.llmops_yaml()
        built.promote_v1()
        built.prompt(system="Answer well.")
        for arguments in (["release"], ["measure", "support@v2"]):
            assert built.run(*arguments).code == 0
        built.prompt(system="Answer better.")
    copy = Project(root=tmp_path / "project", url=server.url, settings=built.settings)
    shutil.copytree(template, copy.root)
    copy.llmops_yaml()
    return copy


def timeless(printed: str) -> str:
    """What a command printed without the seconds that it took."""
    return re.sub(r" · [\d.]+ s$", "", printed, flags=re.MULTILINE)


def says(result: Result, *words: str) -> Result:
    for word in words:
        assert word in result.text, f"{word!r} is not in: {result.text}"
    return result


# Around files --------------------------------------------------------------------------------


def test_init_starts_a_project_that_evaluates(tmp_path: Path) -> None:
    project = Project(root=tmp_path)
    result = says(project.run("init"), "wrote llmops.yaml", "wrote evalsets/sentiment.yaml")
    assert result.code == 0
    says(result, "next: llmops eval")
    assert project.run("check").code == 0
    says(project.run("eval"), "INCONCLUSIVE", "no baseline")
    assert says(project.run("init"), "exists already").code == 2


def test_check_finds_every_mistake_with_its_line(project: Project) -> None:
    assert says(project.run("check"), "support", "1 prompt, 30 cases: no problem found").code == 0
    project.write("prompts/support.prompt.yml", "modle: tiny\nmessages: []\n")
    project.cases([*make_cases(2), make_cases(1)[0]])
    result = project.run("check")
    assert (result.code, result.out) == (2, "")
    says(result, "prompts/support.prompt.yml:1", "did you mean 'model'")


def test_render_shows_what_is_sent(project: Project) -> None:
    result = project.run("render", "support", "--case", "c004")
    says(
        result,
        "openai/tiny temperature=0",
        "--- system Answer better.",
        "--- user say 4",
        "sha256:",
    )
    says(project.run("render", "support@v1", "-i", "question=why?"), "Answer.", "why?")
    assert project.run("render", "support", "-i", "question").code == 2


SCHEMA = """\
responseFormat: json_schema
jsonSchema: {title: City answer, type: object, properties: {city: {type: string}}}
tools:
  - type: function
    function: {name: find_city, description: Finds a city, parameters: {type: object}}
"""


def test_render_shows_tools_and_schema_as_they_are_sent(project: Project) -> None:
    bodies: list[Mapping[str, Any]] = []

    def keep(body: Mapping[str, Any]) -> str:
        bodies.append(body)
        return "{}"

    project.write("prompts/support.prompt.yml", project.read("prompts/support.prompt.yml") + SCHEMA)
    with FaultServer(reply=keep) as own:
        project.url, project.model["extra_body"] = own.url, {"top_k": 3}
        project.llmops_yaml()
        result = project.run("render", "support")
        (shown,) = project.run("render", "support", "--json").document
        assert own.requests == 0
        project.run("eval", "--case", "c000")
    says(
        result,
        "temperature=0.0 top_k=3 response_format=json_schema",
        '--- tools [ { "type": "function", "function": { "name": "find_city"',
        '--- JSON schema { "name": "City_answer", "strict": true, "schema": { "title": "City',
        shown["digest"],
    )
    sent = bodies[-1]
    assert sent["response_format"] == {"type": "json_schema", "json_schema": shown["json_schema"]}
    assert (sent["tools"], sent["messages"]) == (shown["tools"], shown["messages"])
    assert sent.items() >= {**shown["parameters"], **shown["extra_body"]}.items()


def test_models_lists_them(project: Project) -> None:
    says(project.run("models"), "tiny", "openai", project.url, "OPENAI_API_KEY is not set")


def test_schema_prints_one_or_their_names(project: Project) -> None:
    names = project.run("schema").out.split()
    assert names == ["project", "prompt", "evalset", "case", "report"]
    assert json.loads(project.run("schema", "evalset").out)["$schema"]
    says(project.run("schema", "--write"), "wrote .llmops/schemas/project.json")


# Measuring -----------------------------------------------------------------------------------


def test_eval_passes_and_says_what_comes_next(project: Project) -> None:
    result = project.run("eval")
    assert result.code == 0
    says(
        result,
        "PASS",
        "support@v1 (production)",
        "0 improved, 0 regressed of 30",
        "llmops promote support --to production",
    )


def test_eval_blocks_a_regression_and_shows_it_and_report_shows_it_again(project: Project) -> None:
    project.prompt(system="Answer carelessly.")
    result = project.run("eval")
    assert result.code == 1
    says(result, "FAIL", "27 regressed", "no idea", "c000", "say 0")
    shown = project.run("report")
    body, _, when = shown.out.rpartition("run of ")
    assert (shown.code, body) == (result.code, timeless(result.out))
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC\n", when)


@pytest.mark.parametrize(
    "command", [["eval"], ["compare", "support@v1", "support@v2"], ["measure", "support@v2"]]
)
def test_what_measures_writes_every_form_of_its_report(
    project: Project, command: list[str]
) -> None:
    out, junit, markdown, html, csv, summary = (
        project.root / f"gate.{ending}"
        for ending in ("jsonl.gz", "xml", "md", "html", "csv", "sum")
    )
    options = ["--out", out, "--junit", junit, "--markdown", markdown, "--html", html]
    result = project.run(
        *command,
        *map(str, [*options, "--csv", csv]),
        "--github",
        env={"GITHUB_STEP_SUMMARY": str(summary)},
    )
    assert result.code == 0, result.text
    for path in (junit, markdown, html, summary):
        assert "no_worse" in path.read_text(encoding="utf-8"), path
    assert len(csv.read_text(encoding="utf-8").splitlines()) > CASES
    table = project.root / "again.csv"
    again = project.run("report", str(out), "--csv", str(table))
    assert timeless(result.out).startswith(again.out.partition("wrote ")[0])
    assert f"wrote {table}\n" in again.out
    assert table.read_bytes() == csv.read_bytes()


def test_compare_decides_between_two_versions(project: Project) -> None:
    result = says(project.run("compare", "support@v1", "support@v2"), "PASS", "support@v2")
    assert result.code == 0
    project.prompt(system="Answer carelessly.")
    assert says(project.run("compare", "support@v1", "support"), "FAIL").code == 1


# The registry --------------------------------------------------------------------------------


def test_release_measure_and_promote(project: Project) -> None:
    says(project.run("release", "support"), "support@v3", "new", "next: llmops measure support@v3")
    says(project.run("release"), "unchanged")
    assert says(project.run("promote", "support@v3", "-m", "x"), "not promoted").code == 3
    says(project.run("measure", "support@v3"), "PASS", "evidence: sha256:")
    says(project.run("promote", "support@v3", "-m", "it is better"), "production runs support@v3")


def test_a_measured_regression_is_not_promoted(project: Project) -> None:
    project.prompt(system="Answer carelessly.")
    project.run("release")
    assert says(project.run("measure", "support@v3"), "FAIL", "evidence: sha256:").code == 1
    assert says(project.run("promote", "support@v3", "-m", "x"), "not promoted").code == 1


def test_rollback_history_status_and_verify(project: Project) -> None:
    assert project.run("promote", "support@v2", "-m", "better").code == 0
    again = project.run("promote", "support@v2", "-m", "once more")
    assert says(again, "it runs there already", "(event 2)").code == 0
    says(project.run("status"), "support", "production", "v2", "PASS")
    result = says(project.run("rollback", "support@production", "-m", "it was not"), "quarantined")
    assert result.code == 0
    says(result, "production runs support@v1")
    says(project.run("history", "support"), "rollback", "promote", "it was not", "the first")
    says(project.run("verify"), "support@v1", "production verified: 1 prompt")
    assert says(project.run("promote", "support@v2", "-m", "again"), "quarantined").code == 2


def test_what_cannot_be_done_yet_is_answered_with_what_can(project: Project) -> None:
    shutil.rmtree(project.root / ".llmops")
    says(project.run("promote", "support@v1"), "was never released", "llmops release support")
    says(project.run("history", "support"), "support was never promoted")
    says(project.run("verify"), "nothing was promoted yet", "llmops promote NAME@v1 --initial")
    says(project.run("eval", "--tag", "vip"), "no case of these evalsets has a tag")
    says(project.run("-C", "elsewhere", "status"), "there is no folder")
    assert project.run("release").code == 0
    result = says(project.run("measure", "support@v1"), "llmops promote support@v1 --to production")
    assert "llmops release" not in result.out
    shutil.rmtree(project.root / "prompts")
    shutil.rmtree(project.root / "evalsets")
    assert says(project.run("eval"), "the project has no prompts").code == 2
    says(project.run("release"), "the project has no prompts")


def test_diff_shows_what_changed(project: Project) -> None:
    says(project.run("diff", "support@v1", "v2"), "message 1 (system)", "Answer", "well")
    says(project.run("diff", "support@v2"), "better")


# All of them ---------------------------------------------------------------------------------

WITH_JSON = [
    ["check"],
    ["render", "support"],
    ["models"],
    ["schema", "prompt"],
    ["eval"],
    ["eval", "--dry-run"],
    ["compare", "support@v1", "support@v2"],
    ["measure", "support@v2"],
    ["release"],
    ["promote", "support@v2", "-m", "why"],
    ["status"],
    ["history", "support"],
    ["diff", "support@v1", "v2"],
    ["verify"],
    ["rollback", "support@production", "-m", "why"],
    ["gc", "--dry-run"],
    ["report"],
]


def test_json_is_all_that_a_command_prints_with_json(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in WITH_JSON:
        json_command = arguments if arguments[0] == "schema" else [*arguments, "--json"]
        code = run(["-C", str(project.root), *json_command])
        out, err = capsys.readouterr()
        assert code == 0, f"{arguments}: {out} {err}"
        assert json.loads(out) is not None


def commands(project: Project) -> dict[str, str]:
    """Return each command of `llmops --help` with its sentence."""
    listed = (
        project.run("--help", env=NARROW).out.partition("─ Start ")[2].partition("─ Output ")[0]
    )
    documents: dict[str, str] = {}
    for line in listed.splitlines():
        if not line.startswith("│"):
            continue
        name, text = line[2:22].strip(), line[22:-1].strip()
        last = name or next(reversed(documents))
        documents[last] = f"{documents.get(last, '')} {text}".strip()
    return documents


def test_every_command_has_a_whole_sentence_in_the_list(project: Project) -> None:
    documents = commands(project)
    assert len(documents) >= 20
    assert {name: text for name, text in documents.items() if not text.endswith(".")} == {}
    shown = project.run("--help", env=NARROW).out.splitlines()
    assert [line for line in shown if len(line) > 80] == []


def test_every_help_names_its_values_and_fits(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in commands(project):
        assert run([name, "--help"]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"Usage: llmops {name} ")
        assert [line for line in out.splitlines() if len(line) > 80] == []
        assert not re.search(r"<(str|int|float)|TEXT|INTEGER", out), name
