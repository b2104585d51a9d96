"""The fail-open table: every way in which a leading tool lets a broken run pass, and ours does not.

Each row is a real process against a real server. The first word of a test's name is the fault.
"""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmops_cli.run.execute import DRAIN
from tests.projects import (
    Result,
    count_stored,
    make_cases,
    make_project,
    wait_until_asked,
    wrong_every_fifth,
)
from tests.servers.faulty import Exchange, FaultServer, Server, answer, echo, status

# Every call is refused -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 403, 404])
def test_refused_everywhere_is_incomplete_and_stops_early(tmp_path: Path, code: int) -> None:
    with FaultServer(then=status(code, message="go away")) as server:
        result = make_project(tmp_path, server.url, cases=200, max_concurrency=4).eval()
        assert (result.code, result.decision) == (3, "INCOMPLETE")
        assert server.requests <= 8
        shown = make_project(tmp_path / "shown", server.url).run("eval")
    candidate = result.evalset["candidate"]
    assert (candidate["planned"], candidate["measured"]) == (200, 0)
    assert sum(candidate["failures"].values()) == 200
    assert shown.out.startswith("INCOMPLETE")
    assert str(code) in shown.text
    assert "Traceback" not in shown.text


def test_refused_from_call_15_of_20_on_is_incomplete_counts_all_20_and_says_why(
    tmp_path: Path,
) -> None:
    with FaultServer(*[answer()] * 14, then=status(401)) as server:
        project = make_project(tmp_path, server.url, max_concurrency=1)
        result = project.eval()
        shown = project.run("report", "--quiet")
    assert (result.code, shown.code) == (3, 3)
    candidate = result.evalset["candidate"]
    assert (candidate["planned"], candidate["measured"]) == (20, 14)
    assert sum(candidate["failures"].values()) == 6
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert " ".join(shown.out.split()).partition(" run of ")[0] == (
        f"INCOMPLETE support the API key was rejected (401) by {host}: "
        "17 calls made, 3 not attempted"
    )


def test_refused_on_call_15_alone_is_incomplete_and_the_other_19_are_measured(
    tmp_path: Path,
) -> None:
    with FaultServer(*[answer()] * 14, status(401)) as server:
        project = make_project(tmp_path, server.url, max_concurrency=1)
        result = project.eval()
        assert result.code == 3
        assert result.evalset["candidate"]["measured"] == 19
        assert result.evalset["candidate"]["failures"] == {"authentication": 1}
        again = project.eval()
        assert (again.code, again.report["calls"]) == (0, 1)


# What cannot work is refused before the first call ------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["--case", "absent"], ["--tag", "absent"], ["--evalset", "absent"], ["absent"], ["absent*"]],
    ids=" ".join,
)
def test_a_filter_that_matches_nothing_is_refused(
    tmp_path: Path, server: Server, arguments: list[str]
) -> None:
    result = make_project(tmp_path, server.url).run("eval", *arguments)
    assert (result.code, server.requests) == (2, 0), result.text


YAML, PROMPT = "llmops.yaml", "prompts/support.prompt.yml"
EVALSET, CASES = "evalsets/support.yaml", "evalsets/support.jsonl"
MISTAKES = {
    "a key": (YAML, '"models"', '"modles"', (f"{YAML}:2", "modles", "models")),
    "a model's key": (YAML, '"base_url"', '"base_ulr"', (f"{YAML}:6", "base_ulr", "base_url")),
    "a prompt's key": (PROMPT, "messages:", "mesages:", (f"{PROMPT}:5", "mesages", "messages")),
    "a foreign key": (EVALSET, '"scorers"', '"asert"', (f"{EVALSET}:4", "asert", "unknown")),
    "an evalset's key": (EVALSET, '"scorers"', '"scorer"', (f"{EVALSET}:4", "scorer", "scorers")),
    "a case's key": (CASES, '"expected": "say 3"', '"expectd": "say 3"', (
        f"{CASES}:4", "expectd", "expected")),
    "a variable": (PROMPT, "{{ question }}", "{{ qestion }}", (
        f"{PROMPT}:", "did you mean 'question'")),
    "an input that a case lacks": (CASES, '{"question": "say 19"}', "{}", (f"{CASES}:20",)),
    "a scorer": (EVALSET, '"exact"', '"exactly"', (f"{EVALSET}:5", "did you mean 'exact'")),
    "a case's scorer": (CASES, '"expected": "say 19"', '"scorers": ["exactly"]', (f"{CASES}:20",)),
}  # fmt: skip


@pytest.mark.parametrize(("path", "old", "new", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused_with_line_and_nearest_name(
    tmp_path: Path, server: Server, path: str, old: str, new: str, expected: tuple[str, ...]
) -> None:
    project = make_project(tmp_path, server.url)
    text = project.read(path)
    assert old in text
    project.write(path, text.replace(old, new))
    result = project.run("eval")
    assert (result.code, server.requests) == (2, 0)
    assert [word for word in expected if word not in result.text] == []


def test_a_mistake_in_a_csv_column_is_refused_with_line_and_nearest_name(
    tmp_path: Path, server: Server
) -> None:
    project = make_project(tmp_path, server.url)
    (project.root / CASES).unlink()
    project.write("evalsets/support.csv", "id,question,expectd\nc1,say 1,say 1\n")
    project.evalset(cases="support.csv")
    result = project.run("eval")
    assert (result.code, server.requests) == (2, 0)
    for words in ("evalsets/support.csv:1", "expectd", "did you mean 'expected'"):
        assert words in result.text


@pytest.mark.parametrize(
    "mistakes",
    [
        {
            (YAML, '"base_url"', '"base_ulr"'): "'base_ulr'",
            (PROMPT, "modelParameters:", "modelParams:"): "'modelParams'",
            (EVALSET, '"scorers"', '"scorer"'): "'scorer'",
        },
        {
            (
                CASES,
                '"expected": "say 3"',
                '"expectd": "say 3"',
            ): f"{CASES}:4: unknown key 'expectd'",
            (CASES, '"id": "c004"', '"di": "c004"'): f"{CASES}:5: unknown key 'di'",
        },
    ],
)
def test_every_mistake_is_reported_at_once(
    tmp_path: Path, server: Server, mistakes: dict[tuple[str, str, str], str]
) -> None:
    project = make_project(tmp_path, server.url)
    for path, old, new in mistakes:
        project.write(path, project.read(path).replace(old, new))
    result = project.run("eval")
    assert (result.code, server.requests) == (2, 0)
    assert [message for message in mistakes.values() if message not in result.text] == []


@pytest.mark.parametrize(("scorers", "cases"), [([], "20"), (None, "none"), ([], "1 of 20")])
def test_what_could_never_be_scored_is_refused(
    tmp_path: Path, server: Server, scorers: list[Any] | None, cases: str
) -> None:
    project = make_project(tmp_path, server.url)
    first, *others = make_cases(20)
    if cases == "none":
        project.write(CASES, "")
    if cases == "1 of 20":
        project.cases([first, *({**other, "scorers": ["json"]} for other in others)])
    project.evalset(scorers=scorers)
    result = project.run("eval")
    assert (result.code, server.requests) == (2, 0), result.text
    assert cases != "1 of 20" or f"{CASES}:1" in result.text


# Ctrl-C --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_with_130_a_partial_report_and_how_to_go_on(
    tmp_path: Path, which: signal.Signals
) -> None:
    with FaultServer(then=answer(delay=0.1)) as server:
        project = make_project(tmp_path, server.url, cases=100, max_concurrency=2)
        process = project.start("eval")
        wait_until_asked(server, 6, process)
        process.send(which)
        result = process.wait()
    assert result.code == 130
    assert server.requests < 20
    assert "INCOMPLETE" in result.out
    assert "run the same command again" in result.text
    assert "Traceback" not in result.text
    last = project.run("report", "--json")
    assert last.report["interrupted"]
    measured = last.evalset["candidate"]["measured"]
    assert measured == count_stored(project)
    assert sum(last.evalset["candidate"]["failures"].values()) == 100 - measured


def interrupted(folder: Path, *, presses: int) -> tuple[Result, float]:
    """Return a run that Ctrl-C ended while its calls hang, and the seconds they were kept open."""
    closed: list[float] = []

    async def hangs(exchange: Exchange) -> None:
        await exchange.closed()
        closed.append(time.monotonic())

    with FaultServer(*[answer()] * 5, then=hangs) as server:
        project = make_project(folder, server.url, max_concurrency=3, timeout=600)
        process = project.start("eval", "--json")
        wait_until_asked(server, 8, process)
        pressed = time.monotonic()
        for _ in range(presses):
            process.send(signal.SIGINT)
            time.sleep(0.3)
        result = process.wait()
    assert len(closed) == 3
    assert result.code == 130
    assert count_stored(project) == 5
    return result, max(closed) - pressed


@pytest.mark.slow
def test_one_ctrl_c_lets_hanging_calls_go_after_the_drain_and_a_second_at_once(
    tmp_path: Path,
) -> None:
    assert DRAIN < 5
    result, drained = interrupted(tmp_path / "once", presses=1)
    assert result.report["interrupted"]
    assert result.evalset["candidate"]["measured"] == 5
    _, cut = interrupted(tmp_path / "twice", presses=2)
    assert cut < drained


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_stopped_run_and_the_same_command_give_the_verdict_of_an_uninterrupted_run(
    tmp_path: Path, which: signal.Signals, code: int
) -> None:
    def worse(body: Mapping[str, Any]) -> str:
        return wrong_every_fifth(body) if body["messages"][0]["content"] == "Worse." else echo(body)

    with FaultServer(then=answer(delay=0.02), reply=worse) as server:
        whole, cut = (
            make_project(tmp_path / name, server.url, cases=60, max_concurrency=4)
            for name in ("whole", "cut")
        )
        for project in (whole, cut):
            project.promote_v1()
            project.prompt(system="Worse.")
        uninterrupted = whole.eval()
        before, stored = server.requests, count_stored(cut)
        for stop in (15, 30):
            process = cut.start("eval", "--json")
            wait_until_asked(server, before + stop, process)
            process.send(which)
            assert process.wait().code == code
        done = count_stored(cut) - stored
        resumed = cut.eval()
        assert server.requests - before <= 60 + 2 * 4  # what was in flight may be asked again
    assert 0 < done < 60
    assert resumed.report["calls"] == 60 - done
    assert resumed.verdict == uninterrupted.verdict
    assert resumed.evalset["metrics"] == uninterrupted.evalset["metrics"]
    assert (resumed.code, uninterrupted.code) == (1, 1)


# Cases are the unit --------------------------------------------------------------------------


def fails_two(body: Mapping[str, Any]) -> str:
    """Fails `say 1` and `say 2` under the second prompt, whatever the trial."""
    text = echo(body)
    worse = body["messages"][0]["content"] == "Answer worse."
    return "something else" if worse and text in {"say 1", "say 2"} else text


def test_repeats_of_two_regressed_cases_are_two_regressed_cases_of_twenty(tmp_path: Path) -> None:
    with FaultServer(reply=fails_two) as server:
        project = make_project(tmp_path, server.url)
        project.promote_v1()
        project.prompt(system="Answer worse.")
        once = project.eval()
        project.evalset(repeats=3)
        thrice = project.eval()
    estimates = [result.finding("no_worse")["estimate"] for result in (once, thrice)]
    assert thrice.evalset["candidate"]["planned"] == 60
    assert [(estimate["n"], estimate["regressed"]) for estimate in estimates] == [(20, 2), (20, 2)]
    assert estimates[0]["lower"] == estimates[1]["lower"]
    assert once.decision == thrice.decision


def test_a_critical_case_that_fails_is_not_averaged_away(tmp_path: Path) -> None:
    with FaultServer(reply=fails_two) as server:
        project = make_project(tmp_path, server.url, cases=100)
        project.promote_v1()
        cases = make_cases(100)
        project.cases([{**case, "critical": case["id"] == "c001"} for case in cases])
        project.prompt(system="Answer worse.")
        project.evalset(repeats=3)
        result = project.eval()
    assert result.code == 1
    assert result.decision == "FAIL"


# Nobody is there -----------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "code"), [([], 1), ([{"critical": "off"}], 0)])
def test_a_critical_case_blocks_under_rules_that_do_not_name_it(
    tmp_path: Path, server: Server, rule: list[dict[str, str]], code: int
) -> None:
    project = make_project(tmp_path, server.url, cases=100)
    cases = make_cases(100)
    project.cases([{**cases[0], "expected": "no", "critical": True}, *cases[1:]])
    project.evalset(gate={"rules": [{"floor": 0.9}, *rule]})
    assert project.run("eval").code == code


def test_an_endpoint_that_is_down_is_incomplete_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = reserved.getsockname()[1]
        result = make_project(tmp_path, f"http://127.0.0.1:{port}/v1", cases=200).eval()
    assert result.code == 3
    failures = result.evalset["candidate"]["failures"]
    assert failures.keys() == {"connection", "not_attempted"}
    assert failures["connection"] < 40  # no case is tried after it was seen that nobody is there
    assert sum(failures.values()) == 200


# Killed --------------------------------------------------------------------------------------


def test_killed_and_run_again_counts_exactly_and_repeats_no_acknowledged_call(
    tmp_path: Path,
) -> None:
    calls: Counter[str] = Counter()

    def reply(body: Mapping[str, Any]) -> str:
        calls[echo(body)] += 1
        return wrong_every_fifth(body)

    with FaultServer(then=answer(delay=0.02), reply=reply) as server:
        project = make_project(tmp_path, server.url, cases=200, max_concurrency=8)
        process = project.start("eval", "--json")
        wait_until_asked(server, 100, process)
        process.send(signal.SIGKILL)
        assert process.wait().code == -signal.SIGKILL
        stored = count_stored(project)
        resumed = project.eval()
    assert stored >= 80
    assert "waiting" not in resumed.text  # the killed process left no lock behind
    assert resumed.report["calls"] == 200 - stored
    assert resumed.evalset["candidate"]["measured"] == 200
    passed = resumed.metric()
    assert (passed["candidate"], passed["candidate_n"]) == (0.8, 200)
    assert max(calls.values()) <= 2
    assert sum(count == 2 for count in calls.values()) <= 8


# A cached answer has no latency --------------------------------------------------------------


def test_a_cached_answer_never_passes_a_latency_assertion(tmp_path: Path, server: Server) -> None:
    project = make_project(tmp_path, server.url)
    project.evalset(scorers=[{"exact": "{{ expected }}"}, {"latency": 30}])
    live = project.eval()
    assert live.evalset["candidate"]["unscored"] == 0
    cached = project.eval()
    assert cached.report["calls"] == 0
    assert cached.code == 3
    assert cached.decision == "INCOMPLETE"
    assert cached.evalset["candidate"]["unscored"] == 20
    assert cached.evalset["candidate"]["latency_p50"] is None
    fresh = project.eval("--no-cache")
    assert fresh.report["calls"] == 20
    assert fresh.evalset["candidate"]["unscored"] == 0


def test_a_slow_answer_fails_a_latency_assertion(tmp_path: Path) -> None:
    with FaultServer(then=answer(delay=0.3)) as server:
        project = make_project(tmp_path, server.url, cases=4)
        project.evalset(
            scorers=[{"latency": 0.1}], gate={"rules": ["coverage", {"floor": {"min": 0.9}}]}
        )
        result = project.eval()
    assert result.code == 1


# Others --------------------------------------------------------------------------------------


def test_items_with_advisory_scores_alone_do_not_pass(tmp_path: Path, server: Server) -> None:
    project = make_project(tmp_path, server.url)
    project.evalset(
        scorers=[{"exact": {"value": "{{ expected }}", "advisory": True}}],
        gate={"rules": [{"floor": {"min": 0.1}}]},
    )
    result = project.eval("--strict")
    assert (result.code, result.decision) == (4, "INCONCLUSIVE")


@pytest.mark.parametrize("answered", [0, 2])
def test_tasks_that_error_are_not_averaged_to_a_pass(tmp_path: Path, answered: int) -> None:
    with FaultServer(*[answer()] * answered, then=status(500)) as server:
        project = make_project(tmp_path, server.url, cases=10, retries=0, max_concurrency=1)
        project.evalset(gate={"rules": [{"floor": {"min": 0.9}}]})
        result = project.eval()
    assert result.code in ({1, 3} if answered else {3})
    assert result.decision in {"FAIL", "INCOMPLETE"}
    assert result.evalset["candidate"]["measured"] == answered


def test_a_changed_scorer_is_not_answered_with_an_old_pass(tmp_path: Path, server: Server) -> None:
    project = make_project(tmp_path, server.url)
    floor = {"rules": [{"floor": {"min": 0.9}}]}
    project.evalset(gate=floor)
    assert project.eval().code == 0
    project.evalset(scorers=[{"exact": "never this"}], gate=floor)
    assert project.eval().code == 1


@pytest.mark.parametrize(
    "trouble", [["--offline"], ["--max-calls", "0"], ["--max-calls", "7"], ["--max-seconds", "0"]]
)
def test_a_rerun_that_fails_does_not_fall_back_on_earlier_answers(
    tmp_path: Path, server: Server, trouble: list[str]
) -> None:
    project = make_project(tmp_path, server.url)
    project.evalset(gate={"rules": [{"floor": {"min": 0.9}}]})
    assert project.eval().code == 0
    result = project.eval("--no-cache", *trouble)
    assert (result.code, result.decision) == (3, "INCOMPLETE")
    assert project.eval().code == 0


def test_no_evidence_is_written_where_the_versions_own_baseline_trials_failed(
    tmp_path: Path,
) -> None:
    with FaultServer(*[answer()] * 20, then=status(401)) as server:
        project = make_project(tmp_path, server.url, cases=20, max_concurrency=1)
        assert project.eval().code == 0
        assert project.run("release", "support").code == 0
        measured = project.run("measure", "support@v1")
        assert measured.code == 3
        assert "baseline trials" in measured.text
        assert "no evidence recorded" in measured.text
        assert project.run("promote", "support@v1", "--initial", "-m", "first").code == 3


def test_a_torn_run_file_is_no_report(tmp_path: Path) -> None:
    with FaultServer(then=answer()) as server:
        project = make_project(tmp_path, server.url, cases=5)
        assert project.eval("--out", "run.jsonl").code == 0
    run = project.root / "run.jsonl"
    lines = run.read_bytes().splitlines(keepends=True)
    assert project.run("report", "run.jsonl").code == 0
    run.write_bytes(b"".join(lines[:-3]))
    assert project.run("report", "run.jsonl").code == 2
