from __future__ import annotations

from pathlib import Path

from llmops_cli.core.ports import PluginContext
from llmops_cli.scorers.text import check_regex, regex_scorer
from tests.unit.scorers.answers import expecting, reason, reply, value, why


def test_a_pattern_is_found_anywhere_unless_the_whole_answer_is_meant() -> None:
    assert value(regex_scorer(expecting(), reply("order 42 sent"), pattern=r"\d+")) == 1
    assert value(regex_scorer(expecting(), reply("order 42 sent"), pattern=r"\d+", whole=True)) == 0


def test_flags_change_what_is_found() -> None:
    assert value(regex_scorer(expecting(), reply("YES"), pattern="yes")) == 0
    assert value(regex_scorer(expecting(), reply("YES"), pattern="yes", ignore_case=True)) == 1
    assert value(regex_scorer(expecting(), reply("a\nb"), pattern="^b", multiline=True)) == 1
    assert value(regex_scorer(expecting(), reply("a\nb"), pattern="a.b", dotall=True)) == 1


def test_composed_and_decomposed_letters_match_each_other() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert value(regex_scorer(expecting(), reply(decomposed), pattern=f"^{composed}$")) == 1
    assert value(regex_scorer(expecting(), reply(composed), pattern=f"^{decomposed}$")) == 1
    assert value(regex_scorer(expecting(), reply(decomposed), pattern="caf.", whole=True)) == 1


def test_a_reason_shows_what_matched() -> None:
    assert reason(regex_scorer(expecting(), reply("order 42"), pattern=r"\d+")) == (
        "'\\\\d+' matches '42'"
    )


def test_a_pattern_that_backtracks_without_end_is_unscored() -> None:
    result = regex_scorer(expecting(), reply("a" * 5000 + "b"), pattern=r"^(a|a)*$")
    assert "backtracks" in why(result)  # without its deadline it takes years


def test_a_pattern_that_does_not_compile_is_seen_before_any_call(tmp_path: Path) -> None:
    context = PluginContext(root=tmp_path, environ={})
    assert check_regex({"pattern": "ok"}, context) is None
    assert str(check_regex({"pattern": "(ok"}, context)).startswith(
        "'(ok' is not a regular expression"
    )


def test_a_pattern_from_a_template_that_does_not_compile_is_unscored() -> None:
    result = regex_scorer(expecting(), reply("x"), pattern="(ok")
    assert why(result).startswith("'(ok' is not a regular expression")
