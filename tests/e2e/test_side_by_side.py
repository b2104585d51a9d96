"""`compare` of three and more models or versions: a table, and no gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.git_project import GitProject
from tests.projects import Project, make_project
from tests.servers.faulty import FaultServer, Server, echo, status

CASES = 40
PRICE = {"input": 1.0, "output": 1.0}


def by_model(body: Mapping[str, Any]) -> str:
    """Reply rightly; `small` is wrong on each tenth question, `local` on every other."""
    text = echo(body)
    number = int(text.rpartition(" ")[2])
    wrong = {"small": number % 10 == 0, "local": number % 2 == 0}
    return "something else" if wrong.get(str(body["model"]), False) else text


@pytest.fixture
def models(tmp_path: Path) -> Iterator[tuple[Project, Server]]:
    """The models `fast`, `small` and `local` on one server, each with a price."""
    with FaultServer(reply=by_model) as server:
        project = make_project(tmp_path, server.url, cases=CASES)
        project.models = {
            name: {"provider": "openai", "model": name, "base_url": server.url, "price": PRICE}
            for name in ("fast", "small", "local")
        }
        project.llmops_yaml()
        yield project, server


def table(document: Any) -> dict[str, Any]:
    """Return the rows of the only evalset by name."""
    (compared,) = document
    (evalset,) = compared["evalsets"]
    return {row["name"]: row for row in evalset["targets"]}


def test_three_models_are_measured_side_by_side(models: tuple[Project, Server]) -> None:
    project, server = models
    result = project.run("compare", "fast", "small", "local", "--json")
    assert result.code == 0, result.text
    rows = table(result.document)
    assert list(rows) == ["fast", "small", "local"]
    assert [rows[name]["quality"] for name in rows] == [1.0, 0.9, 0.5]
    assert [(rows[name]["regressed"], rows[name]["improved"]) for name in rows] == [
        (0, 0),
        (4, 0),
        (20, 0),
    ]
    assert rows["fast"]["difference"] is None
    assert rows["local"]["difference"]["difference"] == -0.5
    assert rows["local"]["difference"]["upper"] < 0
    for row in rows.values():
        assert row["lower"] <= row["quality"] <= row["upper"]
        assert row["cost_per_call"] > 0
        assert row["latency_p95"] > 0
    assert server.requests == 3 * CASES  # each model answers each case once
    again = project.run("compare", "fast", "small", "local", "--json")
    assert server.requests == 3 * CASES
    assert table(again.document)["local"]["quality"] == 0.5


def test_the_table_reads_in_one_look_and_the_page_has_it(models: tuple[Project, Server]) -> None:
    project, _ = models
    page = project.root / "page.html"
    result = project.run("compare", "--models", "fast,small,local", "--html", str(page))
    assert result.code == 0, result.text
    (line,) = (line for line in result.out.splitlines() if line.startswith("local "))
    for part in ("50.0%", "−50.0", "20", "$"):
        assert part in line
    assert "PASS" not in result.out
    assert "FAIL" not in result.out
    html = page.read_text()
    assert html.count("<tr>") == 4
    assert "50.0%" in html
    assert "http" not in html.replace("http-equiv", "")
    assert "wrote " in result.text


def test_two_names_still_go_through_the_gate_and_models_do_not(
    models: tuple[Project, Server],
) -> None:
    project, _ = models
    assert project.run("compare", "fast", "local").code == 1
    assert project.run("compare", "--models", "fast,local").code == 0


def test_versions_are_compared_side_by_side(shop: GitProject) -> None:
    for broken, system in ((12, "Answer kindly."), (30, "Answer briefly.")):
        shop.say("support", system, broken=broken)
        shop.ok("release", "support")
    shop.say("support", "Answer well.", broken=6)
    names = ["support@v1", "support@v2", "support@v3", "support"]
    result = shop.ok("compare", *names, "--json")
    rows = table(result.document)
    assert list(rows) == names
    assert [round(rows[name]["quality"] * 60) for name in names] == [60, 48, 30, 54]
    assert [rows[name]["regressed"] for name in names] == [0, 12, 30, 6]


def test_what_was_not_measured_is_3_and_shown_as_missing(models: tuple[Project, Server]) -> None:
    project, _ = models
    with FaultServer(then=status(401)) as locked:
        project.models["local"]["base_url"] = locked.url
        project.models["local"]["retries"] = 0
        project.llmops_yaml()
        result = project.run("compare", "fast", "small", "local", "--json")
    assert result.code == 3
    rows = table(result.document)
    assert (rows["local"]["quality"], rows["local"]["measured"]) == (None, 0)
    assert rows["small"]["quality"] == 0.9
    assert any(note.startswith("local: ") and "401" in note for note in result.document[0]["notes"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fast"], "two or more"),
        ([], "two or more"),
        (["fast", "smal", "local"], "small"),
        (["support", "fast", "local"], "fast"),
        (["fast", "small", "fast"], "twice"),
        (["fast", "--models", "small,local"], "--models"),
        (["fast", "small", "local", "--junit", "a.xml"], "--junit"),
        (["fast", "small", "local", "--strict"], "--strict"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused_before_any_call(
    models: tuple[Project, Server], arguments: list[str], words: str
) -> None:
    project, server = models
    result = project.run("compare", *arguments)
    assert (result.code, words in result.text) == (2, True), result.text
    assert server.requests == 0


def test_a_dry_run_counts_the_calls_of_every_model(models: tuple[Project, Server]) -> None:
    project, server = models
    result = project.run("compare", "fast", "small", "local", "--dry-run")
    assert f"{3 * CASES} calls" in result.out
    assert server.requests == 0


def test_a_hostile_model_name_is_only_text_on_the_page(models: tuple[Project, Server]) -> None:
    project, server = models
    project.models["small"]["model"] = "<script>alert(1)</script>"
    project.llmops_yaml()
    page = project.root / "page.html"
    assert project.run("compare", "--models", "fast,small", "--html", str(page)).code == 0
    html = page.read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert server.requests == 2 * CASES
