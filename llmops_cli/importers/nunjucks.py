"""Turns Nunjucks templates, as promptfoo has them, into the template language of prompts.

The two share most of their syntax. What is written differently is rewritten inside `{{ }}` and
`{% %}` only, never in the text around them; what has no counterpart is a `NotCarried`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmops_cli.importers.imported import NotCarried
from llmops_cli.project.templates import BadTemplate, Sandbox, is_template

TAG = re.compile(r"(\{\{-?|\{%-?)(.*?)(-?\}\}|-?%\})", re.DOTALL)
LITERAL = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
UNCLOSED = re.compile(r"\{%[^%]*$|\{\{[^}]*$|\{#[^#]*$", re.MULTILINE)
PRINTED = re.compile(r"\{\{(-?)\s*([A-Za-z_][\w.]*)\s*(-?)\}\}")
REWRITTEN = (
    (re.compile(r"\|\s*dump\b(\s*\(\s*\))?"), "| tojson"),
    (re.compile(r"\|\s*dump\s*\(\s*(\d)\s*\)"), r"| tojson(\1)"),
    (re.compile(r"\|\s*safe\b"), ""),
    (re.compile(r"!=="), "!="),
    (re.compile(r"==="), "=="),
    (re.compile(r"&&"), " and "),
    (re.compile(r"\|\|"), " or "),
    (re.compile(r"^(\s*)(?:elseif|elif)\b"), r"\1elif"),
    (re.compile(r"([\w\])])\.length\b(?!\s*\()"), r"\1|length"),
    (re.compile(r"\.toUpperCase\(\)"), ".upper()"),
    (re.compile(r"\.toLowerCase\(\)"), ".lower()"),
    (re.compile(r"\.trim\(\)"), ".strip()"),
    (re.compile(r"\bnull\b"), "none"),
)
NOT_OURS: Mapping[str, str] = {
    "env": "templates cannot read the environment",
    "_conversation": "earlier answers are not available to a template",
}


def converted(text: str) -> str:
    """Return `text` in the template language of prompts. Raises `NotCarried`."""
    if not is_template(text):
        return text
    if UNCLOSED.search(text) and "{% raw %}" not in text:
        return f"{{% raw %}}{text}{{% endraw %}}"
    rewritten = TAG.sub(_tag, text)
    names = names_in(rewritten)
    for name, why in NOT_OURS.items():
        if name in names:
            raise NotCarried(f"'{name}': {why}", "write the value out, or make it an input")
    return rewritten


def names_in(text: str) -> frozenset[str]:
    """Return the inputs that a converted template uses. Raises `NotCarried`."""
    if not is_template(text):
        return frozenset()
    try:
        names, includes = Sandbox().examine(text)
    except BadTemplate as error:
        hint = error.hint or "write the template with what docs/files.md lists"
        raise NotCarried(f"line {error.line} of the template: {error.message}", hint) from None
    if includes:
        raise NotCarried("it includes other files", "put their text into the template")
    return frozenset(names)


def printing_json(text: str, structured: frozenset[str]) -> str:
    """Return `text` in which values that are `structured` (no text, no number) print as JSON."""

    def written(match: re.Match[str]) -> str:
        if match[2].partition(".")[0] in structured and "." not in match[2]:
            return f"{{{{{match[1]} {match[2]} | tojson {match[3]}}}}}"
        return match[0]

    return PRINTED.sub(written, text) if structured else text


def literal(text: str) -> str:
    """Return a template that renders to `text` as it is. Raises `NotCarried`."""
    if not is_template(text):
        return text
    if re.search(r"\{%-?\s*endraw", text):
        raise NotCarried("it ends a raw block of the template language", "rewrite it")
    return f"{{% raw %}}{text}{{% endraw %}}"


def rendered(text: str, values: Mapping[str, Any]) -> str:
    """Return what a template makes of the variables of one test. Raises `NotCarried`.

    A name without a value is empty, as in Nunjucks.
    """
    source = converted(text)
    if not is_template(source):
        return source
    filled = {**dict.fromkeys(names_in(source), ""), **values}
    structured = {name for name in filled if isinstance(filled[name], (bool, list, dict))}
    sandbox = Sandbox()
    try:
        template = sandbox.compiled(printing_json(source, frozenset(structured)))
        return sandbox.write(template, filled)
    except BadTemplate as error:
        raise NotCarried(error.message, "write the value out") from None


def _tag(match: re.Match[str]) -> str:
    """Return one `{{ }}` or `{% %}` with everything but its literals rewritten."""
    parts = LITERAL.split(match[2])
    for position in range(0, len(parts), 2):
        for pattern, replacement in REWRITTEN:
            parts[position] = pattern.sub(replacement, parts[position])
    return match[1] + "".join(parts) + match[3]
