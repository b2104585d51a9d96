"""The wall clock jumps during a run: nothing but its timestamps changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.projects import make_project
from tests.servers.faulty import FaultServer, answer, echo, status

JUMPING = """\
import datetime, time

real_time, real_datetime = time.time, datetime.datetime
calls = 0


def jump():
    global calls
    calls += 1
    return {jumps}[calls % len({jumps})]


time.time = lambda: real_time() + jump()


class Jumping(real_datetime):
    @classmethod
    def now(cls, tz=None):
        return real_datetime.now(tz) + datetime.timedelta(seconds=jump())


datetime.datetime = Jumping
"""
"""Loaded by Python before the program: each look at the wall clock finds another time."""

JUMPS = {
    "an hour back and forth": [0, 3600, -3600],
    "a day on": [0, 86400],
    "a day back": [0, -86400],
}


def clock(tmp_path: Path, jumps: list[int]) -> dict[str, str]:
    """The environment of a program whose clock jumps."""
    site = tmp_path / "site"
    site.mkdir(parents=True, exist_ok=True)
    (site / "sitecustomize.py").write_text(JUMPING.format(jumps=jumps))
    known = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {"PYTHONPATH": os.pathsep.join([str(site), *known])}


def test_an_age_that_no_calendar_reaches_back_to_is_no_bug(tmp_path: Path) -> None:
    with FaultServer(then=answer()) as server:
        project = make_project(tmp_path, server.url, cases=3)
        project.evalset(gate={"baseline_max_age": 10**12})
        project.promote_v1()
        result = project.eval()
    assert (result.code, result.decision, result.report["calls"]) == (0, "PASS", 0), result.text


def test_answers_dated_by_a_fast_clock_expire(tmp_path: Path) -> None:
    ahead_of_time = clock(tmp_path, [10 * 365 * 86400])
    with FaultServer(then=answer(), reply=lambda _: "wrong") as server:
        project = make_project(tmp_path / "project", server.url, cases=5)
        ahead = project.eval(env=ahead_of_time)
        server.reply = echo
        fresh, again = project.eval("--no-cache"), project.eval()
    passed = [item.evalset["metrics"][0]["candidate"] for item in (ahead, fresh)]
    assert [item.report["calls"] for item in (ahead, fresh, again)] == [5, 5, 0]
    assert passed == [0.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS.keys())
def test_a_clock_that_jumps_changes_no_verdict_wait_deadline_or_rate(
    tmp_path: Path, jumps: list[int]
) -> None:
    env = clock(tmp_path, jumps)
    busy = [status(429, retry_after="0.2")] * 3
    with FaultServer(*busy, then=answer(delay=0.05)) as server:
        project = make_project(tmp_path / "project", server.url, cases=30, rpm=1200, timeout=5)
        project.evalset(gate={"rules": [{"floor": {"min": 0.8}}]})
        result = project.eval("--max-seconds", "30", env=env)
        assert (result.code, result.decision) == (0, "PASS"), result.text
        assert server.requests == 33
        again = project.eval(env=env)
        assert (again.report["calls"], again.verdict) == (0, result.verdict)
        assert server.requests == 33
    candidate = result.evalset["candidate"]
    assert candidate["failures"] == {}
    assert 0.04 < candidate["latency_p50"] < 600  # the clock jumps by an hour or a day


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Kiritimati", "America/St_Johns"])
def test_the_time_zone_is_in_no_artefact(tmp_path: Path, zone: str) -> None:
    with FaultServer() as server:
        project = make_project(tmp_path, server.url, cases=3)
        result = project.eval("--out", "run.jsonl", env={"TZ": zone})
    assert result.code == 0
    times = [part[:40] for part in project.read("run.jsonl").split('"at":"')[1:]]
    assert len(times) == 3
    assert all(time.split('"')[0].endswith("+00:00") for time in times)
