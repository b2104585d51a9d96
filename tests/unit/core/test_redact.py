from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmops_cli.core.digest import Json
from llmops_cli.core.redact import MASK, SHORTEST, Redactor
from tests.counting import calls_made_by

KEY = 'sk-"canary"/+ä\\1'


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        quote(KEY, safe=""),
        json.dumps(KEY),
        json.dumps(KEY, ensure_ascii=False),
        f"Authorization: Bearer {KEY}",
        f"https://example.org/?key={quote(KEY, safe='')}&x=1",
        quote(KEY, safe="").lower(),
        "".join(f"%{byte:02x}" for byte in KEY.encode()),
        "".join(f"\\u{ord(character):04x}" for character in KEY),
        "".join(f"&#{ord(character)};" for character in KEY),
        html.escape(KEY),
        json.dumps(KEY).replace("/", "\\/"),
        json.dumps(json.dumps(KEY)),
        quote(quote(json.dumps(html.escape(KEY)))),
    ],
)
def test_every_form_in_which_a_secret_travels_is_found(form: str) -> None:
    clean = Redactor([KEY])(form)
    assert "canary" not in clean
    assert MASK in clean


@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
def test_base64_is_found_at_every_alignment(before: str) -> None:
    secret = "canary-of-some-length"
    clean = Redactor([secret])(f"Basic {base64_of(before + secret + 'x')} end")
    decoded = base64.b64decode(base64_of(before + secret + "x"))
    assert secret.encode() in decoded
    assert MASK in clean
    assert clean.endswith(" end")
    left = clean.removeprefix("Basic ").removesuffix(" end").replace(MASK, "")
    assert len(left) <= 12


def test_a_value_of_several_lines_is_found_line_by_line() -> None:
    key = "-----BEGIN KEY-----\nMIIEcanaryline1\nMIIEcanaryline2\n-----END KEY-----\n"
    redact = Redactor([key])
    assert redact("x MIIEcanaryline2 y") == f"x {MASK} y"
    assert "canary" not in redact(key)
    assert "canary" not in redact(json.dumps({"key": key}))


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True),
        ("MY_APIKEY", True),
        ("GITHUB_TOKEN", True),
        ("DB_PASSWORD", True),
        ("client_secret", True),
        ("PGPASSWORD", True),
        ("MYSQL_PASS", True),
        ("NPMTOKEN", True),
        ("API_KEY1", True),
        ("SESSION_JWT", True),
        ("SENTRY_DSN", True),
        ("GCPCREDENTIALS_FILE", True),
        ("DB_PWD", True),
        ("PWD", False),
        ("MAX_TOKENS", False),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("KEYBOARD", False),
        ("MONKEY", False),
        ("TOKENIZERS_PARALLELISM", False),
        ("PATH", False),
        ("AUTHOR", False),
    ],
)
def test_secrets_are_known_by_the_name_of_their_variable(name: str, secret: bool) -> None:
    redact = Redactor.of({name: "value-of-it"})
    assert (redact("a value-of-it b") == f"a {MASK} b") is secret


def test_a_variable_that_the_project_refers_to_is_a_secret_whatever_its_name() -> None:
    redact = Redactor.of({"TEAM": "value-of-it", "OTHER": "something"}, ["TEAM"])
    assert redact("value-of-it something") == f"{MASK} something"


def test_values_that_are_ordinary_words_are_left_alone() -> None:
    assert Redactor(["true", "1", "", "  "])("true 1") == "true 1"
    assert len("canary") >= SHORTEST


def test_a_variable_that_is_no_utf8_is_a_secret_like_any_other() -> None:
    redact = Redactor.of({"DEPLOY_TOKEN": os.fsdecode(b"\xffbinary-canary")})
    assert redact("%FFbinary-canary and it") == "[redacted] and it"


def test_clean_text_is_returned_as_it_came() -> None:
    text = "nothing here"
    assert Redactor([KEY])(text) is text
    assert Redactor()(text) is text


def test_longer_secrets_go_first_so_that_no_tail_stays() -> None:
    assert Redactor(["abcdef", "abcdefghij"])("abcdefghij") == MASK


def test_json_is_redacted_in_values_and_keys() -> None:
    value: Json = {KEY: [KEY, 1, None, {"x": f"a {KEY}"}]}
    assert "canary" not in repr(Redactor([KEY]).plain(value))


@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_secret_never_survives_wherever_it_stands(before: str, after: str) -> None:
    assert "c4n4ry-value" not in Redactor(["c4n4ry-value"])(before + "c4n4ry-value" + after)


ENCODERS: tuple[Callable[[str], str], ...] = (
    lambda text: quote(text, safe=""),
    lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    lambda text: json.dumps(text)[1:-1],
    html.escape,
    lambda text: "".join(f"&#x{ord(character):x};" for character in text),
)


@given(
    secret=st.text(st.characters(min_codepoint=33, exclude_categories=("C", "Z")), min_size=12),
    encoders=st.lists(st.sampled_from(ENCODERS), max_size=3),
    around=st.sampled_from(["", " ", "x%zz", "\\u12", "&lt", "ä+"]),
)
@example(secret="twelve-chars&", encoders=[html.escape], around="")
@example(secret="twelve-chars%", encoders=[lambda text: quote(text, safe="")], around=" ")
def test_no_encoding_within_an_encoding_hides_a_secret(
    secret: str, encoders: list[Callable[[str], str]], around: str
) -> None:
    text = secret
    for encode in encoders:
        text = encode(text)
    clean = Redactor([secret])(f"{around} {text} {around}")
    assert clean == f"{around} {MASK} {around}"


def test_a_megabyte_of_clean_text_is_not_looked_at_piece_by_piece() -> None:
    redact = Redactor([f"sk-secret-number-{i}" for i in range(10)])
    text = "The quick brown fox jumps over the lazy dog. " * 25_000
    assert calls_made_by(lambda: redact(text)) < 100


def test_the_password_in_a_url_of_the_environment_is_a_secret() -> None:
    redact = Redactor.of({"HTTPS_PROXY": "http://team:pr0xy-pass@proxy.internal:3128"})
    assert redact("407 from http://team:pr0xy-pass@proxy.internal:3128") == (
        "407 from http://team:[redacted]@proxy.internal:3128"
    )
    assert redact("team proxy.internal") == "team proxy.internal"
