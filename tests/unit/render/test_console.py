from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from llmops_cli.render.console import console_report
from llmops_cli.render.renderable import table
from tests import reports

OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printed(renderable: RenderableType, *, width: int = 80, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    Console(file=file, width=width, no_color=True).print(renderable)
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [20, 40, 80, 99, 100, 200])
@pytest.mark.parametrize("verbose", [False, True])
def test_hostile_text_reaches_no_terminal_and_no_runner(width: int, verbose: bool) -> None:
    text = printed(console_report(reports.hostile(), verbose=verbose), width=width)
    assert OBEYED.search(text) is None
    lines = text.split("\n")
    assert [line for line in lines if line.lstrip().startswith("::") or "##[" in line] == []
    assert max(map(len, lines)) <= width + 1


def test_a_workflow_command_that_wrapping_moves_to_a_line_start_is_broken() -> None:
    report = reports.report(replace(reports.failing().prompts[0], candidate="x" * 40 + "::error::"))
    text = printed(console_report(report), width=40)
    assert "\n\\::error::" in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_console_can_be_written_to(encoding: str) -> None:
    text = printed(console_report(reports.hostile()), encoding=encoding)
    assert "FAIL" in text


def test_a_verdict_line_that_is_too_long_breaks_between_figures() -> None:
    assert printed(console_report(reports.failing(), quiet=True), width=50).splitlines() == [
        "FAIL  intent   83.1% → 77.3%",
        "      −5.8 (90% CI −8.9 to −3.1)",
        "      6 improved, 24 regressed of 308",
    ]


def test_the_verdict_is_said_again_below_the_cases_with_its_exit_code() -> None:
    lines = printed(console_report(reports.failing(), seconds=6.42)).splitlines()
    assert lines[-5:-3] == ["FAIL  intent   83.1% → 77.3%   24 regressed   exit code 1", ""]
    assert lines[-3] == "1 prompt fails · 308 calls + 308 cached · $0.1668 · 6.4 s"


def test_no_figure_is_parted_from_its_unit_by_the_end_of_a_line() -> None:
    for width in range(60, 110):
        text = printed(console_report(reports.failing()), width=width)
        assert re.search(r"(p =|CI)\n|\bof\n *\d|\d\n *(points|cases|of|%)", text) is None, width


def test_markup_in_data_is_text() -> None:
    report = replace(reports.passing(), notes=("[bold]x[/bold] [/b]",))
    assert "[bold]x[/bold] [/b]" in printed(console_report(report))


def test_the_answers_stand_side_by_side_where_there_is_room() -> None:
    wide = printed(console_report(reports.inconclusive()), width=100)
    narrow = printed(console_report(reports.inconclusive()), width=99)
    both = re.compile("Sorry for the wait!.*You should have read")
    assert both.search(wide)
    assert not both.search(narrow)


def test_colour_is_used_where_the_terminal_has_it_and_never_needed() -> None:
    file = io.StringIO()
    Console(file=file, width=80, force_terminal=True, color_system="standard").print(
        console_report(reports.failing())
    )
    coloured = file.getvalue()
    assert coloured.startswith("\x1b[1;31mFAIL\x1b[0m")
    plain = re.sub("\x1b\\[[0-9;]*m", "", coloured)
    assert plain == printed(console_report(reports.failing()))


def test_a_table_aligns_numbers_and_escapes_text() -> None:
    rows = [("intent", 1_204, None, True), ("[/b]\x1b", 7, "x\ny", False)]
    assert printed(table(("prompt", "calls", "note", "ok"), rows)) == (
        "prompt    calls  note  ok\nintent    1,204        yes\n[/b]\\x1b      7  x\\ny  no\n"
    )


def test_a_table_breaks_between_words_and_where_it_cannot_becomes_lines() -> None:
    drawn = table(("prompt", "environment", "evidence"), [("qa", "production", "rolled back")])
    assert printed(drawn, width=29) == (
        "prompt  environment  evidence\nqa      production   rolled\n                     back\n"
    )
    assert printed(drawn, width=28) == (
        "prompt       qa\nenvironment  production\nevidence     rolled back\n"
    )


def test_what_holds_for_every_undecided_prompt_is_said_once() -> None:
    one = reports.inconclusive().prompts[0]
    text = printed(console_report(reports.report(one, replace(one, prompt="other"))))
    assert (text.count("None of these is blocked"), text.count("Not blocked")) == (1, 0)
    blocked = replace(one, prompt="b", verdict=replace(one.verdict, on_inconclusive="fail"))
    text = printed(console_report(reports.report(one, blocked)))
    assert (text.count("None of these is blocked"), text.count("Not blocked")) == (0, 1)
