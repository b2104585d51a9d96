from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.providers.http.responses import LONGEST_WAIT, parse_wait, retry_after

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        (" 2 ", 2.0),
        ("0", 0.0),
        ("250ms", 0.25),
        ("6s", 6.0),
        ("1m30s", 90.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 11:59:00 GMT", 0.0),
        ("2026-11-20T12:01:00Z", 60.0),
        ("2026-11-20T13:01:00+01:00", 60.0),
        ("2026-11-20T12:00:05", 5.0),
        (str(int(NOW.timestamp()) + 20), 20.0),
    ],
)
def test_every_form_of_a_wait_is_read(text: str, seconds: float) -> None:
    assert parse_wait(text, now=NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "-5", "soon", "1x", "nan", "inf", "1e9999", "0x10", "٣", "s", "--", "Fri, 99 Nov"]
)
def test_nonsense_and_the_past_of_negative_numbers_are_ignored(text: str) -> None:
    assert parse_wait(text, now=NOW) is None


@given(text=st.text() | st.text("0123456789.smhd", min_size=300))
def test_no_header_can_break_the_reader(text: str) -> None:
    wait = parse_wait(text, now=NOW)
    assert wait is None or 0 <= wait <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "garbage"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "9" * 400}, LONGEST_WAIT),
        ({"retry-after-ms": "9" * 400}, LONGEST_WAIT),
        ({"retry-after": "9" * 400 + "d"}, LONGEST_WAIT),
        ({"retry-after": 2 * ("1" + "7" * 308 + "s")}, LONGEST_WAIT),
        ({"retry-after": "garbage", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-tokens": "900",
                "x-ratelimit-reset-tokens": "50s",
            },
            2.0,
        ),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-20T12:00:45Z",
            },
            45.0,
        ),
    ],
)
def test_retry_after_rules_and_used_up_limits_stand_in(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, now=NOW) == seconds
