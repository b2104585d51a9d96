"""Reads a row of a promptfoo table as a test, and what a cell such as `contains:Paris` means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

IN_CELL = re.compile(
    r"(?P<type>(?:not-)?[a-z][a-z-]+)(?:\((?P<at>\d+(?:\.\d+)?)\))?(?::(?P<value>.*))?", re.DOTALL
)
LISTS = ("contains-all", "contains-any", "icontains-all", "icontains-any")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "__description": ("description",),
    "__threshold": ("threshold",),
    "__providerOutput": ("providerOutput",),
    "__prefix": ("options", "prefix"),
    "__suffix": ("options", "suffix"),
}
"""Columns that are parts of a test, and where they stand in it."""
ESCAPED_COMMA = re.compile(r"(?<!\\),")


def test_of_row(cells: Mapping[str, str], known: AbstractSet[str]) -> dict[str, Any]:
    """The test of one row, as it would be written in YAML.

    `known` are the assertion types that a cell may begin with.
    """
    test: dict[str, Any] = {"vars": {}, "metadata": {}}
    for name, cell in cells.items():
        if name in FIELDS:
            _put(test, FIELDS[name], cell)
        elif name.startswith("__metadata:"):
            _put(test, ("metadata", *_metadata(name)), _listed(cell) if "[]" in name else cell)
        elif not name.startswith(("__expected", "__config:", "__metric")):
            test["vars"][name] = cell
    test["assert"] = list(_assertions(cells, known))
    return test


def assertion_of_cell(cell: str, known: AbstractSet[str]) -> dict[str, Any]:
    """What `contains:Paris` and its like mean; any other text must be the answer."""
    if re.match(r"(javascript|fn|eval|python|file):", cell):
        return {"type": "python" if cell.startswith("python") else "javascript", "value": cell}
    if cell.startswith("grade:"):
        return {"type": "llm-rubric", "value": cell.removeprefix("grade:").strip()}
    found = IN_CELL.fullmatch(cell)
    if found is None or not {found["type"], found["type"].removeprefix("not-")} & known:
        return {"type": "equals", "value": cell}
    written: dict[str, Any] = {"type": found["type"]}
    if found["value"] is not None:
        value = found["value"].strip()
        listed = found["type"].removeprefix("not-") in LISTS
        written["value"] = [each.strip() for each in value.split(",")] if listed else value
    if found["at"] is not None:
        written["threshold"] = float(found["at"])
    return written


def _assertions(cells: Mapping[str, str], known: AbstractSet[str]) -> Iterator[dict[str, Any]]:
    """The columns `__expected…`, with the settings that stand in columns beside them."""
    common = {"metric": cells["__metric"]} if cells.get("__metric") else {}
    for name, cell in cells.items():
        if name.startswith("__expected") and cell.strip():
            threshold = cells.get(f"__config:{name}:threshold", "").strip()
            own = {"threshold": threshold} if threshold else {}
            yield {**assertion_of_cell(cell.strip(), known), **common, **own}


def _put(test: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    if isinstance(value, str) and not value.strip():
        return
    for name in place[:-1]:
        test = test.setdefault(name, {})
    test[place[-1]] = value


def _metadata(column: str) -> tuple[str]:
    return (column.removeprefix("__metadata:").removesuffix("[]"),)


def _listed(cell: str) -> list[str]:
    return [each.strip().replace("\\,", ",") for each in ESCAPED_COMMA.split(cell) if each.strip()]
