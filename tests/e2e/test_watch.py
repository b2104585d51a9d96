"""Watching production: from a collector's files to an alarm, an acknowledgement and a rollback."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.git_project import GitProject, make_git_project
from tests.projects import Result, without_rights
from tests.traces import HOUR, request, span, write_hours

WATCHED = """\
models:
  tiny: {provider: embedded}
environments: [production]
watch:
  production:
    source: "traces/*.jsonl"
    alarms:
      - errors: {max: 0.02}
      - cache_hits: off
"""


def this_hour() -> int:
    return int(datetime.now(UTC).timestamp()) // HOUR * HOUR


@pytest.fixture
def shop(tmp_path: Path) -> GitProject:
    """Production runs v1, and nine days of quiet calls are in the collector's folder."""
    shop = make_git_project(tmp_path / "shop", "support")
    shop.write("llmops.yaml", WATCHED)
    shop.first()
    traffic(shop, hours=9 * 24, ends=this_hour() + HOUR)  # this hour too: no silence
    return shop


def traffic(shop: GitProject, *, hours: int, ends: int, name: str = "a", **more: Any) -> None:
    """Hours of 20 calls each that end now; what is in `more` is added to every call."""

    def attributes(hour: int, n: int) -> dict[str, Any]:
        known = {"gen__ai_usage_cost": 0.01 * (1 + (n + hour) % 3), "llmops_version": "support@v1"}
        return {**known, **more}

    file = shop.root / "traces" / f"{name}.jsonl"
    write_hours(file, hours, 20, attributes, start=ends - hours * HOUR)


def watch(shop: GitProject, *arguments: str) -> Result:
    return shop.run("watch", *arguments)


def test_nine_quiet_days_are_quiet(shop: GitProject) -> None:
    result = watch(shop)
    assert result.code == 0, result.text
    assert "QUIET production: 4,320 calls" in result.text
    assert "cost per call: $0.0200" in result.text
    assert "cache_hits" not in result.text


def test_a_promotion_that_raises_the_cost_rings_and_names_its_rollback(shop: GitProject) -> None:
    shop.ok("promote", shop.candidate("support"), "-m", "kinder")
    traffic(shop, hours=9 * 24, ends=this_hour())
    traffic(
        shop, hours=1, ends=this_hour() + HOUR, name="b", gen__ai_usage_cost=0.08,
        llmops_version="support@v2",
    )  # fmt: skip
    result = watch(shop)
    assert result.code == 1
    assert "ALARM production: cost" in result.text
    assert "$0.0200 → $0.0800" in result.text
    assert "version support@v2: 0.0% → 100.0% of calls" in result.text
    assert "promote of support@v2" in result.text
    assert "next: llmops rollback support@production -m WHY" in result.text


def test_the_next_steps_of_an_alarm_work(shop: GitProject) -> None:
    shop.ok("promote", shop.candidate("support"), "-m", "kinder")
    traffic(shop, hours=9 * 24, ends=this_hour())
    traffic(shop, hours=1, ends=this_hour() + HOUR, name="b", gen__ai_usage_cost=0.08)
    steps = [
        line.partition("next: llmops ")[2].replace("WHY", "because").split()
        for line in watch(shop).out.splitlines()
        if line.startswith("next: ")
    ]
    assert [step[0] for step in steps] == ["rollback", "watch"]
    assert shop.run(*steps[0]).code == 0
    assert shop.runs("support") == 1
    assert shop.run(*steps[1]).code == 0


def test_an_acknowledged_alarm_is_quiet_and_stays_on_record(shop: GitProject) -> None:
    traffic(shop, hours=9 * 24, ends=this_hour() - 29 * HOUR)
    traffic(shop, hours=30, ends=this_hour() + HOUR, name="b", gen__ai_usage_cost=0.08)
    assert watch(shop).code == 1
    assert watch(shop, "--ack", "cost").code == 2
    assert watch(shop, "--ack", "cost", "-m", "longer answers are wanted").code == 0
    (line,) = (shop.root / ".llmops/watch/production.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "longer answers are wanted"
    assert ".llmops/watch/production.jsonl" in shop.git("status", "--porcelain", "-uall")
    assert watch(shop).code == 0


def test_traces_are_not_in_git(shop: GitProject) -> None:
    watch(shop)
    assert (shop.root / ".llmops/traces/words.json").exists()
    assert ".llmops/traces" not in shop.git("status", "--porcelain", "-uall")


def test_silence_is_not_measured(shop: GitProject) -> None:
    traffic(shop, hours=9 * 24, ends=this_hour() - 5 * HOUR)
    result = watch(shop)
    assert result.code == 3
    assert "NOT MEASURED production: no call since" in result.text


def test_many_unreadable_lines_are_not_measured(shop: GitProject) -> None:
    with (shop.root / "traces/a.jsonl").open("a") as stream:
        stream.write("garbage\n" * 10)
    for _ in range(2):  # nothing new is read the second time, and that measures no more
        result = watch(shop)
        assert result.code == 3
        assert "10 of 226 lines could not be read" in result.text


def test_an_alarm_that_was_asked_for_and_has_no_data_is_not_measured(shop: GitProject) -> None:
    shop.write("llmops.yaml", WATCHED.replace("cache_hits: off", "cache_hits: {min: 0.5}"))
    result = watch(shop)
    assert result.code == 3
    assert "cache_hits: 0 of 4,320 calls say whether a cache answered" in result.text


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("errors: {max: 2}", "llmops.yaml:8: 'watch.production.alarms.0.errors.max'"),
        ("erors: {max: 0.5}", "unknown alarm 'erors' (did you mean 'errors'?)"),
        ("cost: {over: soon}", "must be a time such as 12h, 7d or 4w"),
    ],
)
def test_a_mistake_in_the_settings_is_an_error_at_its_line(
    shop: GitProject, written: str, message: str
) -> None:
    shop.write("llmops.yaml", WATCHED.replace("errors: {max: 0.02}", written))
    result = watch(shop)
    assert result.code == 2
    assert message in result.text


def test_what_is_not_watched_is_named_with_what_is(shop: GitProject) -> None:
    assert "production" in watch(shop, "prodution").text
    shop.write("llmops.yaml", WATCHED.partition("watch:")[0])
    result = watch(shop)
    assert (result.code, "nothing is watched" in result.text) == (2, True)


def test_json_page_and_markdown_say_the_same(shop: GitProject, tmp_path: Path) -> None:
    page, text = tmp_path / "watch.html", tmp_path / "watch.md"
    (document,) = watch(shop, "--json", "--html", str(page), "--markdown", str(text)).document
    assert document["headline"].startswith("QUIET")
    assert document["calls"] == 4320
    assert "QUIET  production: 4,320 calls" in page.read_text()
    assert "QUIET  production: 4,320 calls" in text.read_text()
    assert page.read_text().count("<svg") == 2  # cost and errors; the others have no data


def test_hostile_attributes_are_text_everywhere(shop: GitProject, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\x1b[31m::error::x|`@team"
    traffic(shop, hours=9 * 24, ends=this_hour())
    traffic(
        shop, hours=1, ends=this_hour() + HOUR, name="b", gen__ai_usage_cost=0.08,
        llmops_version=hostile,
    )  # fmt: skip
    page, text = tmp_path / "watch.html", tmp_path / "watch.md"
    result = watch(shop, "--html", str(page), "--markdown", str(text))
    assert result.code == 1
    assert "\x1b" not in result.out + page.read_text() + text.read_text()
    assert "<script>" not in page.read_text()
    assert "<script>" not in text.read_text()
    assert "\n::error::" not in result.out


def test_traces_are_added_listed_and_shown(shop: GitProject) -> None:
    one = span(7, this_hour(), gen__ai_input_messages="hello", error_type="timeout")
    shop.write("more.jsonl", json.dumps(request([one])) + "\n")
    assert "1 calls added" in shop.ok("traces", "add", "more.jsonl").text
    assert "0 calls added" in shop.ok("traces", "add", "more.jsonl").text
    listed = json.loads(shop.ok("traces", "list", "--json").out)
    assert (listed[-1]["calls"], listed[-1]["errors"]) == (1, 1)
    (shown,) = json.loads(shop.ok("traces", "show", f"{7:032x}").out)
    assert shown["input"] == "hello"
    assert shop.run("traces", "show", "nothing").code == 2


def test_a_thumbs_down_becomes_a_draft_that_gates_when_it_is_reviewed(shop: GitProject) -> None:
    bad = span(
        7, this_hour(), user_feedback="down", llmops_version="support@v1",
        gen__ai_input_messages='[{"role": "user", "content": "may I return a gift?"}]',
    )  # fmt: skip
    shop.write("more.jsonl", json.dumps(request([bad])) + "\n")
    shop.ok("traces", "add", "more.jsonl")
    result = shop.ok("traces", "draft", "support", "--from", "thumbs-down")
    assert "1 drafts in evalsets/support.drafts.jsonl" in result.text
    assert "support: 1 draft waits for a review" in shop.ok("check").text
    assert shop.run("eval").text.count("of 60") >= 1
    drafts = shop.root / "evalsets/support.drafts.jsonl"
    case = json.loads(drafts.read_text())
    assert case["inputs"] == {"question": "may I return a gift?"}
    assert "0 drafts" in shop.ok("traces", "draft", "support", "--from", "thumbs-down").text
    del case["draft"]
    drafts.write_text(json.dumps({**case, "expected": "yes"}) + "\n")
    assert "draft" not in shop.ok("check").text
    assert "of 61" in shop.run("eval").text


# What a change can put in the way --------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [("watch",), ("traces", "list"), ("traces", "draft", "support")]
)
def test_calls_that_git_has_are_not_read(shop: GitProject, command: tuple[str, ...]) -> None:
    shop.ok("watch")
    shop.git("add", "-f", ".llmops/traces/words.json")
    shop.git("commit", "-qm", "calls of a change")
    result = shop.run(*command)
    assert result.code == 2, result.text
    assert "git has" in result.text
    assert ".llmops/traces/words.json" in result.text


@pytest.mark.parametrize("name", ["", "/.gitignore", "/.lock", "/words.json"])
def test_nothing_is_read_or_written_through_a_link_in_the_place_of_calls(
    shop: GitProject, tmp_path: Path, name: str
) -> None:
    aside = tmp_path / "aside"
    aside.mkdir() if not name else aside.write_text("precious")
    path = shop.root / f".llmops/traces{name}"
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(aside)
    result = watch(shop)
    assert result.code == 2, result.text
    assert list(aside.iterdir()) == [] if not name else aside.read_text() == "precious"


@pytest.mark.parametrize("source", ["../*.jsonl", "/var/log/*.jsonl", "traces/../../*.jsonl"])
def test_a_source_outside_of_the_project_is_a_problem(shop: GitProject, source: str) -> None:
    shop.write("llmops.yaml", WATCHED.replace("traces/*.jsonl", source))
    result = watch(shop)
    assert result.code == 2, result.text
    assert "llmops.yaml:6: " in result.text
    assert "could leave the project" in result.text


def test_a_source_that_is_a_pipe_or_a_link_out_is_refused_without_waiting(
    shop: GitProject, tmp_path: Path
) -> None:
    os.mkfifo(shop.root / "traces" / "pipe.jsonl")
    assert "pipe.jsonl: it is not a file" in watch(shop).text
    (shop.root / "traces" / "pipe.jsonl").unlink()
    (tmp_path / "secret.jsonl").write_text("{}")
    (shop.root / "traces" / "out.jsonl").symlink_to(tmp_path / "secret.jsonl")
    result = watch(shop)
    assert result.code == 2, result.text
    assert "'traces/out.jsonl' is a link that leaves the project" in result.text


def test_traces_that_cannot_be_listed_are_no_quiet_days(shop: GitProject) -> None:
    (shop.root / "traces").chmod(0)
    result = shop.start("watch", before=without_rights).wait()
    (shop.root / "traces").chmod(0o755)
    assert result.code == 2, result.text
    assert "'traces' cannot be listed: Permission denied" in result.text


def test_a_file_of_traces_that_was_cut_off_is_named(shop: GitProject) -> None:
    packed = gzip.compress(b"{}\n" * 1000)
    (shop.root / "half.jsonl.gz").write_bytes(packed[:-9])
    result = shop.run("traces", "add", "half.jsonl.gz")
    assert result.code == 2, result.text
    assert "half.jsonl.gz" in result.text


@pytest.mark.parametrize(
    "line", ['{"alarm": "errors", "alarm": "cost"}', '{"alarm": 3}', "[]", "no JSON"]
)
def test_an_acknowledgement_that_was_edited_is_refused(shop: GitProject, line: str) -> None:
    shop.write(".llmops/watch/production.jsonl", line + "\n")
    result = watch(shop)
    assert result.code == 2, result.text
    assert "production.jsonl:1: not an acknowledgement" in result.text


def test_acknowledgements_are_not_read_through_a_link(shop: GitProject, tmp_path: Path) -> None:
    (tmp_path / "aside").write_text("")
    shop.write(".llmops/watch/production.jsonl", "")
    (shop.root / ".llmops/watch/production.jsonl").unlink()
    (shop.root / ".llmops/watch/production.jsonl").symlink_to(tmp_path / "aside")
    result = watch(shop)
    assert result.code == 2, result.text
    assert "a link, which is never followed here" in result.text
