"""Write the parts of the reference pages that are generated from the code.

    python docs/generate.py            update the pages
    python docs/generate.py --check    exit with 1 and list the pages that are out of date

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
`tests/architecture/test_documentation.py` runs the check.
"""  # noqa: INP001 - a script, not a module of a package

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
import yaml

from llmops_cli.cli.main import full_app
from llmops_cli.core.policy import DEFAULT_RULES, RULES, rule_options
from llmops_cli.core.ports import Option, ScorerKind
from llmops_cli.plugins.providers import PROVIDERS
from llmops_cli.plugins.scorers import SCORERS
from llmops_cli.project.policy import bare_option

ROOT = Path(__file__).parents[1]
PART = re.compile(r"(<!-- generated: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
WORDS: Mapping[object, str] = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    dict: "mapping",
    list: "list",
    Any: "any value",
    type(None): "nothing",
}


def commands() -> Iterator[str]:
    """Yield every command with its arguments and options, from `--help`."""
    group: Any = typer.main.get_command(full_app())
    program = group.context_class(group, info_name="llmops")
    everywhere = [option for option in group.get_params(program) if "completion" not in option.name]
    yield "## Global options"
    yield ""
    yield from _table(("option", ""), _parameters(everywhere, program))
    for name in group.list_commands(program):
        command = group.get_command(program, name)
        context = group.context_class(command, info_name=name, parent=program)
        yield f"## {name}"
        yield ""
        yield f"`{command.get_usage(context).removeprefix('Usage: ')}`"
        yield ""
        yield from _prose(command.help)
        yield from _table(
            ("argument or option", ""), _parameters(command.get_params(context), context)
        )


def overview() -> Iterator[str]:
    """Yield a table of all commands, one line each, with links to their entries."""
    group: Any = typer.main.get_command(full_app())
    context = group.context_class(group, info_name="llmops")
    helps = ((name, group.get_command(context, name).help) for name in group.list_commands(context))
    yield from _table(
        ("command", ""),
        ((f"[`{name}`](#{name})", next(_prose(text))) for name, text in helps),
    )


def _prose(text: str) -> Iterator[str]:
    for paragraph in text.strip().split("\n\n"):
        heading, *lines = paragraph.splitlines()
        if heading.strip() == "Examples:":
            yield from ("```sh", *_examples(lines), "```")
        else:
            yield " ".join(paragraph.split())
        yield ""


def _examples(lines: Iterable[str]) -> Iterator[str]:
    """Yield commands with their descriptions as comments; two spaces separate the two in help."""
    rows = [re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines]
    width = max(len(command) for command, *_ in rows)
    for command, *comment in rows:
        yield f"{command:<{width}}  # {comment[0]}" if comment else command


def _parameters(parameters: Iterable[Any], context: typer.Context) -> Iterator[tuple[str, str]]:
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            names, text = record
            yield f"`{names}`", text


def scorers() -> Iterator[str]:
    """Yield one table of all scorers, then the options of each."""
    yield from _table(
        ("scorer", "checks", "passes", "`name: value` sets"),
        (
            (f"[`{kind.name}`](#{kind.name})", kind.summary, _passes(kind), _code(kind.shorthand))
            for kind in SCORERS.values()
        ),
    )
    for kind in SCORERS.values():
        yield f"#### {kind.name}"
        yield ""
        yield kind.summary + _installed_by(kind)
        yield ""
        yield from _options(kind.options)


def _passes(kind: ScorerKind) -> str:
    if kind.unit == "pass":
        return "if true"
    unit = "0 to 1" if kind.unit == "fraction" else kind.unit
    if kind.minimum is None:
        return f"{unit}; set `min` or `max`"
    return f"{unit}; `min` is {kind.minimum:g}"


def _installed_by(kind: ScorerKind) -> str:
    return f" Requires `pip install 'llmops-cli[{kind.extra}]'`." if kind.extra else ""


def providers() -> Iterator[str]:
    """Yield one table of all providers, then the options of each."""
    yield from _table(
        ("provider", "description", "key", "deterministic"),
        (
            (
                f"`{kind.name}`",
                kind.summary,
                _code(kind.api_key_env) if kind.api_key_env else "none",
                "yes" if kind.deterministic else "no",
            )
            for kind in PROVIDERS.values()
        ),
    )
    for kind in PROVIDERS.values():
        if kind.options:
            yield f"Options of `{kind.name}`:"
            yield ""
            yield from _options(kind.options)


def rules() -> Iterator[str]:
    """Yield a table of all rules with their options."""
    defaults = {type(rule) for rule in DEFAULT_RULES}
    yield from _table(
        ("rule", "requirement", "options", "`name: value` sets", "default"),
        (
            (
                f"`{name}`",
                " ".join((rule.__doc__ or "").split()),
                ", ".join(f"`{option.key}`" for option in rule_options(rule)) or "none",
                _code(bare_option(name)),
                "yes" if rule in defaults else "",
            )
            for name, rule in RULES.items()
        ),
    )


def action() -> Iterator[str]:
    """Yield the inputs and outputs of the GitHub action."""
    action_file = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    yield from _table(
        ("input", "default", ""),
        (
            (f"`{name}`", _code(_default(entry["default"])), entry["description"])
            for name, entry in action_file["inputs"].items()
        ),
    )
    yield from _table(
        ("output", ""),
        ((f"`{name}`", entry["description"]) for name, entry in action_file["outputs"].items()),
    )


def _default(value: str) -> str:
    """Return a default for people; computed ones are explained in the description."""
    return "" if "${{" in value else value


def _options(options: Mapping[str, Option]) -> Iterator[str]:
    if not options:
        yield "No options."
        yield ""
        return
    yield from _table(
        ("option", "value", ""),
        (
            (
                f"`{name}`",
                ", ".join(dict.fromkeys(_words(option.type))),
                option.help + (" (required)" if option.required else ""),
            )
            for name, option in options.items()
        ),
    )


def _words(kind: object) -> Iterator[str]:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        for option in get_args(kind):
            yield from _words(option)
    elif origin is Literal:
        yield " or ".join(f"`{value}`" for value in get_args(kind))
    else:
        yield WORDS[origin or kind]


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield _row(("---",) * len(head))
    for row in rows:
        yield _row(row)
    yield ""


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


PARTS: Mapping[str, Callable[[], Iterator[str]]] = {
    "action": action,
    "commands": commands,
    "overview": overview,
    "scorers": scorers,
    "providers": providers,
    "rules": rules,
}


def regenerate(page: str) -> str:
    """Return the page with its generated parts updated; `KeyError` for an unknown part."""

    def part(match: re.Match[str]) -> str:
        body = "\n".join(PARTS[match["name"]]()).strip()
        return f"{match[1]}\n{body}\n\n{match[3]}"

    return PART.sub(part, page)


def main() -> int:
    """Update every page under docs/, or only list those that are out of date."""
    stale = []
    for path in sorted(ROOT.glob("docs/*.md")):
        page = path.read_text(encoding="utf-8")
        new = regenerate(page)
        if new != page:
            stale.append(path)
            if "--check" not in sys.argv[1:]:
                path.write_text(new, encoding="utf-8")
    if "--check" not in sys.argv[1:] or not stale:
        return 0
    names = ", ".join(path.relative_to(ROOT).as_posix() for path in stale)
    sys.stderr.write(f"out of date: {names}; run `python docs/generate.py`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
