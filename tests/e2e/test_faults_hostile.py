"""Everything that a model may answer, through every sink that there is, in one real project.

The model answers harmlessly under the first prompt and with the hostile corpus under the second:
every case is lost, so every report shows the answers. A control run loses the same cases to a
harmless word: what is said of the gate must be the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

from tests.hostile import HOSTILE
from tests.projects import Project, Result, make_project
from tests.servers.faulty import Behaviour, FaultServer, answer, echo, raw_body, status
from tests.unit.render.test_markdown import outside_code

TEXTS = list(HOSTILE.values())
CASES = [
    {"id": f"c{at:02}", "inputs": {"question": f"say {at}"}, "expected": "fine"}
    for at in range(len(TEXTS))
]
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal obeys, or what reorders a line."""
COMMAND = re.compile(r"^\s*::|##\[", re.MULTILINE)
"""What a runner of GitHub obeys."""


def harmful(text: str) -> list[str]:
    """What in `text` a terminal or a CI log would act on."""
    return sorted({repr(hits) for hits in [*OBEYED.findall(text), *COMMAND.findall(text)]})


def hostile(body: Mapping[str, Any]) -> str:
    match body["messages"][0]["content"]:
        case "Answer.":
            return "fine"
        case "Answer badly.":
            return "wrong"
        case _:
            return TEXTS[int(echo(body).split()[-1])]


def project_on(root: Path, url: str) -> Project:
    project = make_project(root, url, cases=0)
    project.cases(CASES)
    project.promote_v1()
    return project


OUT = "--junit junit.xml --markdown page.md --html page.html --out run.jsonl"
AGAIN = "--junit again.xml --markdown again.md --csv run.csv --parquet run.parquet"
COMMANDS = (
    f"eval --verbose {OUT}",
    "eval --json --offline --out run.jsonl.gz",
    "report --verbose",
    f"report run.jsonl --json {AGAIN}",
    "release support",
    "measure support@v2 --verbose --markdown measured.md",
    "promote support@v2 --override -m why",
    "history support",
    "diff support@v1 support@v2",
    "status",
    "verify production",
)


Ran: TypeAlias = tuple[Project, Mapping[str, Result]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """The project after every command, and what each said; `control` is the harmless one."""
    with FaultServer(reply=hostile) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("HTTP_PROXY", raising=False)
        patch.delenv("http_proxy", raising=False)
        project = project_on(tmp_path_factory.mktemp("project"), server.url)
        project.prompt(system="Answer badly.")
        results = {"control": project.eval()}
        project.prompt(system="Answer with malice.")
        for command in COMMANDS:
            results[command.split(" --")[0] + (" json" if "json " in command else "")] = (
                project.run(*command.split())
            )
        yield project, results


def test_no_command_crashes_and_none_changes_its_verdict(ran: Ran) -> None:
    _, results = ran
    expected = dict.fromkeys(results, 0) | {
        name: 1 for name in results if name.startswith(("control", "eval", "report", "measure"))
    }
    assert {name: message.code for name, message in results.items()} == expected


def test_the_gate_says_of_hostile_answers_what_it_says_of_harmless_ones(ran: Ran) -> None:
    _, results = ran
    control, run = results["control"], results["eval json"]
    assert run.verdict == control.verdict
    assert run.evalset["metrics"] == control.evalset["metrics"]
    assert run.evalset["changes"] == control.evalset["changes"] == {"regressed": len(CASES)}


def test_nothing_that_is_printed_can_be_obeyed(ran: Ran) -> None:
    _, results = ran
    streams = {f"{name} {kind}": text for name, message in results.items()
               for kind, text in (("out", message.out), ("err", message.err))}  # fmt: skip
    assert {name: hits for name, text in streams.items() if (hits := harmful(text))} == {}


def test_every_page_in_markdown_is_free_of_markup_and_mentions(ran: Ran) -> None:
    project, _ = ran
    pages = {path.name: path.read_bytes().decode("utf-8") for path in project.root.rglob("*.md")}
    assert {"page.md", "again.md", "measured.md"} <= pages.keys()
    for name, page in pages.items():
        assert OBEYED.findall(page) == [], name
        prose = outside_code(page)
        for dangerous in ("<script", "@team", "](https://", "![", "https://evil"):
            assert dangerous not in prose, name


def test_every_page_for_a_browser_holds_its_own_markup_and_no_other(ran: Ran) -> None:
    project, _ = ran
    page = (project.root / "page.html").read_bytes().decode("utf-8")
    assert OBEYED.findall(page) == []
    tags = {name.lower() for name in re.findall(r"<([a-zA-Z!][\w-]*)", page)}
    assert tags & {"img", "iframe", "link", "object", "base", "form", "!--"} == set()
    assert page.count("<script>") == 1
    assert page.count("<script") == page.count("</script>") == 3


def test_junit_can_be_read_and_holds_no_control(ran: Ran) -> None:
    project, _ = ran
    for name in ("junit.xml", "again.xml"):
        document = ET.parse(project.root / name)  # noqa: S314 - our own file
        texts = [
            part for item in document.iter() for part in (item.text or "", *item.attrib.values())
        ]
        assert OBEYED.findall("".join(texts)) == []
        assert len(list(document.iter("failure"))) >= len(CASES)


def test_machine_output_and_run_files_hold_the_answers_as_they_were(ran: Ran) -> None:
    project, results = ran
    whole = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in TEXTS]
    for name in ("eval json", "report run.jsonl json"):
        hits = {
            item["case"]: item["candidate"]["trials"][0]["text"]
            for item in results[name].evalset["shown"]
        }
        assert [hits[f"c{at:02}"] for at in range(len(TEXTS))] == whole
    for line in (project.root / "run.jsonl").read_bytes().splitlines():
        json.loads(line)
        assert line.isascii()


def test_tables_hold_the_answers_as_they_were_and_no_formula(ran: Ran) -> None:
    project, _ = ran
    whole = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in TEXTS]
    parquet = pd.read_parquet(project.root / "run.parquet")
    csv = pd.read_csv(project.root / "run.csv", dtype="str", keep_default_na=False)
    for table, expected in (
        (parquet, whole),
        (csv, [text.replace("\0", "\\x00") for text in whole]),
    ):
        answers = table[table["side"] == "candidate"].sort_values("case")["text"]
        assert [text.removeprefix("'") for text in answers] == expected
    assert not csv["text"].str.match(r"[=+\-@|%\t\r]").any()


def test_what_was_stored_is_read_again_without_a_call(ran: Ran) -> None:
    _, results = ran
    assert results["eval json"].report["calls"] == 0
    assert results["eval json"].evalset["candidate"]["measured"] == len(CASES)
    assert "verified" in results["verify production"].out


SHORT = {name: text for name, text in HOSTILE.items() if len(text) < 1_000}


def malicious_names(text: str) -> Behaviour:
    """A good answer whose model, fingerprint, finish reason and tool are `text`."""
    tool = {"function": {"name": text, "arguments": text}, "id": "1", "type": "function"}
    choice = {"message": {"content": "fine", "tool_calls": [tool]}, "finish_reason": f"r {text}"}
    return answer(model=f"m {text}", system_fingerprint=f"f {text}", choices=[choice])


def malicious_error(code: int) -> Callable[[str], Behaviour]:
    def failing(text: str) -> Behaviour:
        error = {"error": {"message": text, "type": text, "code": text}}
        return status(code, body=json.dumps(error).encode())

    return failing


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [(malicious_names, 1), (malicious_error(400), 3), (malicious_error(500), 3)],
    ids=["names", "400", "500"],
)
def test_names_reasons_and_errors_that_a_server_gives_are_as_harmless_as_answers(
    tmp_path: Path, behaviour: Callable[[str], Behaviour], code: int
) -> None:
    script = [behaviour(text) for text in SHORT.values()]
    with FaultServer(*script, then=answer()) as server:
        cases = len(SHORT) + (code == 3)
        project = make_project(tmp_path, server.url, cases=cases, max_concurrency=1, retries=0)
        if code == 1:
            project.evalset(scorers=[{"exact": "never"}], gate={"rules": [{"floor": {"min": 0.5}}]})
        shown = project.run("eval", "--verbose", *OUT.split())
        machine = project.run("report", "--json")
    assert (shown.code, machine.code) == (code, code)
    assert harmful(shown.out + shown.err + machine.out) == []
    assert code == 3 or machine.evalset["candidate"]["measured"] == len(SHORT)
    ET.parse(tmp_path / "junit.xml")  # noqa: S314 - our own file
    page = (tmp_path / "page.md").read_text("utf-8")
    assert OBEYED.findall(page) == []
    assert "<script" not in outside_code(page)


LONG = "M" * 1_000_000


def tools(count: int, name: str, arguments: str = "{}") -> Behaviour:
    calls = [{"function": {"name": name, "arguments": arguments}}] * count
    return answer(choices=[{"message": {"tool_calls": calls}, "finish_reason": "stop"}])


@pytest.mark.slow
@pytest.mark.parametrize(
    "behaviour",
    [
        answer(model=LONG),
        answer(system_fingerprint=LONG),
        answer(choices=[{"message": {"content": "wrong"}, "finish_reason": LONG}]),
        tools(1, LONG),
        tools(50_000, "t"),
        status(400, message=LONG),
        status(400, body=json.dumps({"detail": [{"loc": [LONG], "msg": LONG}]}).encode()),
        status(400, body=json.dumps({"error": {"type": LONG, "code": LONG}}).encode()),
        status(302, location="http://" + LONG[:8000]),
        raw_body(b"no JSON", kind=LONG[:8000]),
    ],
)
def test_no_name_or_error_in_an_answer_fills_a_report(tmp_path: Path, behaviour: Behaviour) -> None:
    with FaultServer(then=behaviour) as server:
        project = make_project(tmp_path, server.url, cases=8, retries=0)
        result = project.run("eval", "--verbose", *f"{OUT} --csv run.csv".split())
        report = project.eval("--offline")
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir() if path.is_file()}
    assert result.code in {0, 3}
    assert {"junit.xml", "page.md", "page.html", "run.jsonl", "run.csv"} <= sizes.keys()
    assert {name: size for name, size in sizes.items() if size > 150_000} == {}
    assert len(result.text) < 60_000
    assert len(report.out) < 60_000
