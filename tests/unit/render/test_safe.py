from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.render.safe_text import (
    clip,
    html_inline,
    markdown_code,
    markdown_inline,
    markdown_span,
    terminal,
    terminal_line,
    visible,
)
from tests.reports import HOSTILE

ANYTHING = st.text(
    st.one_of(st.characters(), st.sampled_from("\x1b\x07\n\r\t:#[]`|@\u202e\ud800<>&_*"))
)
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def is_workflow_command(line: str) -> bool:
    """GitHub's runner: `::name …::` after blanks, or the older `##[name]` anywhere."""
    return line.lstrip().startswith("::") or "##[" in line


@given(ANYTHING)
def test_a_terminal_gets_no_control_and_no_workflow_command(text: str) -> None:
    safe = terminal(text)
    assert OBEYED.search(safe) is None
    assert not any(is_workflow_command(line) for line in safe.split("\n"))


@given(ANYTHING)
def test_one_line_stays_one_line(text: str) -> None:
    assert len(terminal_line(text).splitlines()) <= 1


@given(ANYTHING)
def test_xml_can_always_be_read_again(text: str) -> None:
    element = ET.Element("e")
    element.text = visible(text)
    written = ET.tostring(element, encoding="utf-8")
    assert (ET.fromstring(written).text or "") == visible(text)  # noqa: S314 - our own output


@given(ANYTHING)
def test_a_fence_is_never_closed_from_within(text: str) -> None:
    first, *body, last = markdown_code(text).split("\n")
    assert first == last
    assert all(not line.lstrip().startswith(first) for line in body)


@given(ANYTHING)
def test_a_code_span_ends_where_it_was_meant_to(text: str) -> None:
    span = markdown_span(text)
    fence = re.match("`+", span)
    assert fence is not None
    if text.strip("`"):
        assert len(re.findall(f"(?<!`){fence[0]}(?!`)", span)) == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\r\nb\rc", "a\nb\\rc"),
        ("evil\u202etxt", r"evil\u202etxt"),
        ("lone \ud800", r"lone \ud800"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("  ::error::x", r"  \::error::x"),
        ("std::vector", "std::vector"),
        ("tests/x.py::test_y", "tests/x.py::test_y"),
        ("x ##[add-mask]y", r"x ##\[add-mask]y"),
        ("family 👩‍👩‍👧 and नमस्ते", "family 👩‍👩‍👧 and नमस्ते"),
    ],
)
def test_what_is_dangerous_is_shown_and_what_is_harmless_is_left(text: str, shown: str) -> None:
    assert terminal(text) == shown


def test_a_newline_in_a_line_is_shown() -> None:
    assert terminal_line("a\nb\tc\r\nd") == r"a\nb\tc\nd"


def test_prose_in_markdown_is_no_markup_mention_reference_or_link() -> None:
    text = "@team #12 GH-7 https://x.y www.x.y [a](b) ![c](d) **b** _i_ `c` ~~s~~ <b> a|b $1"
    assert markdown_inline(text) == (
        "@\u200bteam #\u200b12 GH\u200b-7 https:\u200b//x.y www\u200b.x.y \\[a\\](b) !\\[c\\](d) "
        "\\*\\*b\\*\\* \\_i\\_ \\`c\\` \\~\\~s\\~\\~ &lt;b&gt; a\\|b <span>$</span>1"
    )


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("# t", "\\# t"),
        ("- a", "\\- a"),
        ("+ a", "\\+ a"),
        ("1. a", "1\u200b. a"),
        ("> q", "&gt; q"),
    ],
)
def test_prose_in_markdown_starts_no_list_heading_or_quote(text: str, safe: str) -> None:
    assert markdown_inline(text) == safe


def test_a_code_span_is_good_in_a_table_cell() -> None:
    assert markdown_span("a|b `c`") == "`` a\\|b `c` ``"
    assert markdown_span("") == "`  `"


def test_prose_in_html_has_no_tag() -> None:
    assert html_inline("</summary><img src=x> @a") == (
        "&#60;/summary&#62;&#60;img src=x&#62; @\u200ba"
    )


def test_what_is_cut_is_counted() -> None:
    assert clip("abc", characters=3).remark == ""
    assert clip("abcd", characters=3).remark == "1 character more"
    assert clip("a\nb\nc\nd", characters=99, lines=2).remark == "2 lines more"
    assert clip(HOSTILE["long"], characters=10).remark == "999,990 characters more"
