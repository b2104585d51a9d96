"""Texts that a model may answer and that have broken other tools: one corpus for every sink."""

from __future__ import annotations

from collections.abc import Mapping

MEGABYTE = 1_000_000

HOSTILE: Mapping[str, str] = {
    "empty": "",
    "blank": " \n\t\u2003",
    "escape sequences": "\x1b[2J\x1b[31mred\x1b[0m\x9b31m",
    "a terminal hyperlink": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "NUL": "a\x00b",
    "bidi controls": "user\u202e gnp.exe\u2066x\u2069\u200f",
    "a lone surrogate": "half \ud83d of a pair",
    "rich markup": "[/b] [bold]x [link=https://evil.example]y[/link] [/]",
    "a workflow command": "::error::x\n  ::set-output name=a::b\n::stop-commands::t",
    "a legacy workflow command": "before ##[add-mask]secret",
    "the end of a script": "</script><script>alert(1)</script><!--",
    "a formula": '=cmd|"/c calc"!A0',
    "a tab and a formula": "\t=1+1",
    "a mention": "@team #1 ![x](https://evil.example/p.png)",
    "backticks": "`" * 10_000,
    "the end of CDATA": "]]>&#0;",
    "a template": "{{ 7 * 7 }}{% for x in range(10) %}{% endfor %}${7*7}",
    "stacked marks": "a" + "\u0301\u0316" * 50_000,
    "a row of digits": "9" * MEGABYTE,
    "a row of numbers": "1,22," * (MEGABYTE // 5),
    "deep brackets": "[" * 100_000,
    "an overflow": '{"a": 1e999, "b": NaN, "c": -Infinity}',
    "long words": ("na " * (MEGABYTE // 3)) + "!",
    "a megabyte": "a" * MEGABYTE,
    "a megabyte of fences": "```\n" * (MEGABYTE // 4),
    "a megabyte of emoji": "🤖" * (MEGABYTE // 4),
    "mixed line ends": "a\r\nb\rc\u2028d\u0085e",
}
"""By what is hostile about it."""
