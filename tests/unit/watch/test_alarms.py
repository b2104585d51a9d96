"""When an alarm rings, when it does not, and what it says meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llmops_cli.core.watch import DEFAULT_ALARMS, WEEK, AlarmState
from llmops_cli.watch.alarms import decide
from llmops_cli.watch.detector import detect
from llmops_cli.watch.store import HOUR, NUMBERS, ROW, Table

RARE = 4 * WEEK
WORDS = ["", "timeout", "server_error"]


def table(hours: int, per_hour: int, **columns: np.ndarray | float) -> Table:
    rows = np.zeros(hours * per_hour, ROW)
    rows["time"] = np.repeat(np.arange(hours) * HOUR, per_hour)
    for name in NUMBERS:
        rows[name] = np.nan
    for name, values in columns.items():
        rows[name] = values
    return rows


def decided(name: str, rows: Table, **changes: Any) -> AlarmState:
    alarm = replace(DEFAULT_ALARMS[name], **changes)
    return decide(alarm, rows, WORDS, threshold=RARE)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


STEP = 20 * 24
"""The hour in which something changes, of 28 days."""
HOURS, PER_HOUR = 28 * 24, 60
CALLS = HOURS * PER_HOUR
AFTER = np.repeat(np.arange(HOURS), PER_HOUR) >= STEP


def changed(name: str) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
    """Columns of four quiet weeks, and the same with a rise after `STEP` hours."""
    chance = rng().random(CALLS)
    noise = rng().lognormal(0, 1, CALLS)
    match name:
        case "errors":
            return {"error": 2 * (chance < 0.006)}, {"error": 2 * (chance < 0.006 + 0.03 * AFTER)}
        case "cost":
            return {"cost": noise}, {"cost": noise * (1 + 0.8 * AFTER)}
        case "first_token":
            return {"first_token": noise / 8}, {"first_token": noise / 8 * (1 + 3 * AFTER)}
        case "satisfaction":
            return (
                {"satisfied": chance < 0.8},
                {"satisfied": chance < 0.8 - 0.25 * AFTER},
            )
        case "cache_hits":
            return {"cache_hit": chance < 0.3}, {"cache_hit": chance < 0.3 - 0.2 * AFTER}
        case "context":
            return {"input_tokens": noise}, {"input_tokens": noise * (1 + AFTER)}
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name", ["errors", "cost", "first_token", "satisfaction", "cache_hits", "context"]
)
def test_a_rise_rings_and_its_start_is_known_and_four_quiet_weeks_are_quiet(name: str) -> None:
    more: dict[str, Any] = {"over": 14 * 24} if name == "context" else {}
    quiet, risen = changed(name)
    assert decided(name, table(HOURS, PER_HOUR, **quiet), **more).status == "quiet"
    state = decided(name, table(HOURS, PER_HOUR, **risen), **more)
    assert state.status == "alarm"
    assert state.started is not None
    assert state.rang is not None
    assert abs(state.started - STEP) <= 3
    assert STEP <= state.rang <= STEP + 24


def test_errors_that_do_not_count_do_not_ring() -> None:
    failing = (rng().random(CALLS) < 0.1).astype(int)
    assert decided("errors", table(HOURS, PER_HOUR, error=failing)).status == "quiet"  # timeouts
    assert decided("errors", table(HOURS, PER_HOUR, error=2 * failing)).status == "alarm"


@pytest.mark.parametrize("name", ["cost", "satisfaction", "context"])
def test_a_relative_alarm_waits_for_its_baseline(name: str) -> None:
    quiet, _ = changed(name)
    rows = table(HOURS, PER_HOUR, **quiet)
    state = decided(name, rows[: 100 * PER_HOUR])
    assert state.status == "starting"
    assert "its baseline takes" in state.why


def test_an_absolute_line_of_the_first_token_holds_before_there_is_a_baseline() -> None:
    slow = table(24, PER_HOUR, first_token=5.0)
    assert decided("first_token", slow).status == "alarm"
    assert decided("first_token", slow, max=float("inf")).status == "starting"


def test_an_alarm_without_data_says_so() -> None:
    state = decided("cache_hits", table(2, 10))
    assert (state.status, state.why) == ("no data", "0 of 20 calls say whether a cache answered")


def test_an_acknowledged_alarm_starts_anew_with_the_new_level_as_its_baseline() -> None:
    _, risen = changed("cost")
    rows = table(HOURS, PER_HOUR, **risen)
    alarm = DEFAULT_ALARMS["cost"]
    rang = decide(alarm, rows, WORDS, threshold=RARE)
    assert rang.started is not None
    quiet = decide(alarm, rows, WORDS, threshold=RARE, acknowledged=STEP + 48, rose=rang.started)
    assert quiet.status == "quiet"
    assert quiet.baseline == pytest.approx(1.8 * rang.baseline, rel=0.1)


def test_one_expensive_call_does_not_ring() -> None:
    costs = rng().lognormal(0, 0.3, CALLS)
    costs[STEP * PER_HOUR] = 1e6
    assert decided("cost", table(HOURS, PER_HOUR, cost=costs)).status == "quiet"


@pytest.mark.parametrize("line", [0.01, 0.05, 0.8])
def test_the_expected_value_of_an_hour_is_at_most_one_at_the_line(line: float) -> None:
    # exactly, over both outcomes: what the bound of the false alarms rests on
    hours = np.array([0])
    outcomes = [(0.0, 1 - line), (1.0, line)]
    expected = sum(
        chance * float(detect(hours, np.array([value]), line, threshold=1e9).statistic[0])
        for value, chance in outcomes
    )
    assert expected == pytest.approx(1.0)


def test_two_values_are_decided_as_many_values_are() -> None:
    values = (rng().random(5000) < 0.02).astype(float)
    hours = np.repeat(np.arange(100), 50)
    exact = detect(hours, values, 0.01, threshold=RARE)
    values[0] += 1e-12  # a third value takes the general way
    general = detect(hours, values, 0.01, threshold=RARE)
    np.testing.assert_allclose(exact.statistic, general.statistic, rtol=1e-6)
    assert exact.alarm == general.alarm
