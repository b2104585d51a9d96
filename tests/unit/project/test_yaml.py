"""YAML is read as plain data with lines, and nothing else gets through."""

from __future__ import annotations

import pytest

from llmops_cli.core.digest import Json
from llmops_cli.core.errors import InvalidFiles
from llmops_cli.project.documents import load_yaml


def read(text: str) -> Json:
    return load_yaml(text.encode(), "file.yaml").data


def refused(content: bytes) -> list[str]:
    with pytest.raises(InvalidFiles) as caught:
        load_yaml(content, "file.yaml")
    return [str(each) for each in caught.value.problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("012", "012"),
        ("12:30:45", "12:30:45"),
        ("2026-11-20", "2026-11-20"),
        ("1_000", "1_000"),
        ("=", "="),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-7", -7),
        ("1.5", 1.5),
        ("'12'", "12"),
        ('"true"', "true"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(written: str, value: Json) -> None:
    assert read(f"key: {written}") == {"key": value}
    assert type(read(f"key: {written}")["key"]) is type(value)  # type: ignore[index,call-overload]  # a mapping by construction


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("3.10", 3.1),
        ("10.00", 10),
        ("1.0", 1),
        ("1e3", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("+5", 5),
        (".5", 0.5),
        ("0.00001", 0.00001),
        ("653247040368672768", 653247040368672768),
    ],
)
def test_a_number_is_its_value_and_reads_as_it_is_written(written: str, value: float) -> None:
    parsed = read(f"key: {written}")["key"]  # type: ignore[index,call-overload]  # a mapping by construction
    assert parsed == value
    assert str(parsed) == f"{parsed}" == written


def test_keys_are_always_text() -> None:
    assert read("1: a\nno: b\ntrue: c") == {"1": "a", "no": "b", "true": "c"}


REFUSED: dict[str, tuple[bytes, list[str]]] = {
    "every duplicate key, with both lines": (
        b"threshold: 0.9\nother: 1\nthreshold: 0.1\nin: {a: 1, a: 2}\n",
        [
            ":3: the key 'threshold' is here twice (first on line 1)",
            ":4: the key 'a' is here twice (first on line 4)",
        ],
    ),
    "an alias of nothing": (b"a: *x\n", [":1: the alias '*x' names no anchor before it"]),
    "an alias within its own anchor": (
        b"a: &x [*x]\n",
        [":1: the alias '*x' names no anchor before it"],
    ),
    "a template without quotes": (
        b"content: {{ question }}\n",
        [':1: a key that is not text (quote what has braces: "{{ question }}")'],
    ),
    "tags": (
        b"a: 1\n\nc: !!python/object:os.system {}\nd: !function f\n",
        [
            ":3: the tag 'tag:yaml.org,2002:python/object:os.system' (plain data only; quote text)",
            ":4: the tag '!function' (plain data only; quote text)",
        ],
    ),
    "nesting that could overflow the stack": (
        b"[" * 20_000,
        [":1: nested more than 50 levels deep"],
    ),
    "a large file": (b"a" * 5_000_001, [": larger than 5 MB (use JSONL for cases)"]),
    "a byte that is not UTF-8": (
        b"a: 1\nb: caf\xe9\n",
        [":2: not UTF-8 text (save the file as UTF-8)"],
    ),
    "a second document": (
        b"a: 1\n---\nb: 2\n",
        [":2: a second document in one file (write two files)"],
    ),
}


@pytest.mark.parametrize(("content", "problems"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_plain_is_refused_at_its_line(content: bytes, problems: list[str]) -> None:
    assert refused(content) == [f"file.yaml{problem}" for problem in problems]


def test_a_billion_laughs_are_not_expanded() -> None:
    bomb = b"a0: &a0 [x, x]\n" + b"".join(
        b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 30)
    )
    (problem,) = refused(bomb)
    assert problem == "file.yaml:17: aliases that expand to over 500,000 values"


def test_anchors_aliases_and_merge_keys_are_expanded() -> None:
    text = b"base: &base {min: 0.5, of: [1]}\nown: {<<: *base, min: 0.9}\nlist: [*base]\n"
    document = load_yaml(text, "file.yaml")
    base = {"min": 0.5, "of": [1]}
    assert document.data == {"base": base, "own": {"min": 0.9, "of": [1]}, "list": [base]}
    assert document.where("own", "min").line == 2
    assert document.where("list", 0, "min").line == 3


@pytest.mark.parametrize("number", [".nan", ".inf", "-.INF", "1e999", "1" * 401])
def test_numbers_that_cannot_be_compared_are_refused(number: str) -> None:
    (problem,) = refused(f"a: 1\nb: {number}\n".encode())
    assert problem.startswith("file.yaml:2: ")


def test_a_syntax_error_has_its_line() -> None:
    (problem,) = refused(b"a: 1\nb: [1, 2\nc: 3\n")
    assert problem.startswith("file.yaml:3: not YAML: ")


def test_a_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    text = "a: |\n  one\n  two\nb: x\n"
    assert read("\ufeff" + text.replace("\n", "\r\n")) == read(text)


def test_a_value_knows_its_line_and_a_block_its_first_line_of_text() -> None:
    document = load_yaml(b"a:\n  - b: 1\n    c: |\n      one\n      two\n", "f.yaml")
    assert str(document.where("a", 0, "c")) == "f.yaml:3"
    assert str(document.inside(("a", 0, "c"), 2)) == "f.yaml:5"
    assert str(document.where("a", 0, "nowhere", "at all")) == "f.yaml:2"
