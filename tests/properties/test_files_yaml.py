"""YAML round trips plain data and refuses everything else without a crash."""

from __future__ import annotations

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from llmops_cli.core.digest import SAFE_INTEGER, Json, canonical
from llmops_cli.core.errors import InvalidFiles
from llmops_cli.project.documents import load_yaml

TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")))
PLAIN: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_json_is_yaml_and_is_read_as_what_it_says(value: Json) -> None:
    document = json.dumps(value, ensure_ascii=False)
    assert load_yaml(document.encode(), "f.yaml").data == value


@given(PLAIN)
def test_what_a_yaml_writer_quotes_is_read_back(value: Json) -> None:
    document = yaml.safe_dump(value, allow_unicode=True, default_style='"').replace("!!", "# ")
    if "# " in document:
        return  # numbers and nulls are written with tags in this style
    assert load_yaml(document.encode(), "f.yaml").data == value


@given(
    st.binary(max_size=200)
    | st.text(alphabet="-:[]{}&*!|>'\"#% \n\tab0.", max_size=80).map(str.encode)
)
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    """They are data that has a digest, or refused with a place."""
    try:
        data = load_yaml(content, "f.yaml").data
    except InvalidFiles as error:
        places = {problem.where.path for problem in error.problems}
    else:
        canonical(data)
        places = {"f.yaml"}
    assert places == {"f.yaml"}
