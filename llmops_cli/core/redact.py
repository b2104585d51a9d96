"""Remove secrets, and text that cannot be written, from what is read, stored or printed.

A secret is the value of an environment variable that is named as one, or that a model or header
of the project refers to, and the password in any URL of the environment (a proxy's). It is looked
for as it stands, in base64, and in the text's normal form: what is left of it when every escape
(URL, JSON, HTML, also one within another) is resolved. A value of several lines is looked for line
by line too. Text without escapes and secrets costs a substring search per form and is returned as
it came.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain

from llmops_cli.core.digest import Json, NotCanonical, canonical
from llmops_cli.core.result import Completion, ToolCall

MASK = "[redacted]"
SHORTEST = 6
"""Characters. Anything shorter would blank out ordinary words and prove nothing."""
LONGEST_NAME = 200
"""Characters of a model, tool or finish reason as an answer names it; no API has longer names."""
LONGEST_ID = 2_000
"""Characters of the id of a retrieved document, which may be a URL."""
LARGEST_ARGUMENTS = 256 * 1024
"""Bytes of JSON of all tool calls of an answer; the arguments of further ones are kept as text."""

_NAMED_AS_SECRET = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|PAT|AUTH|JWT|DSN|PWD)\d*(?:_|$)"
    r"|(?:TOKEN|SECRET|PASS|PASSWORD|PASSWD|PASSPHRASE)\d*(?:_|$)"
    r"|CREDENTIAL",
    re.IGNORECASE,
)
_FOLDERS = frozenset({"PWD", "OLDPWD"})
"""Where the shell is and was, not a password."""

BYTES = "surrogateescape"
"""How Python keeps the bytes of a variable that are no UTF-8."""
_ESCAPES = re.compile(
    rb"%[0-9A-Fa-f]{2}"
    rb"|\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}"  # one character, in halves
    rb"|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[\\/\"'bfnrt]"
    rb"|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
)
_ROUNDS = 4
"""How deep escapes within escapes are resolved."""
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")


class Redactor:
    """Replaces every known form of every known secret by `[redacted]`."""

    __slots__ = ("_forms", "_normal_forms")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Take the secrets' values; those under `SHORTEST` characters are ignored."""
        forms = {form for secret in secrets for form in _forms(secret)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        normal = {_normal(_bytes(form)) for form in self._forms}
        self._normal_forms = tuple(sorted(normal, key=lambda form: (-len(form), form)))

    @classmethod
    def of(cls, environ: Mapping[str, str], names: Iterable[str] = ()) -> Redactor:
        """Return a redactor of the variables in `names` and of those named as secrets."""
        listed = frozenset(names)
        values = [
            value
            for name, value in environ.items()
            if name in listed or (_NAMED_AS_SECRET.search(name) and name not in _FOLDERS)
        ]
        passwords = (_PASSWORD_IN_URL.findall(value) for value in environ.values())
        return cls([*values, *chain.from_iterable(passwords)])

    def __bool__(self) -> bool:
        """Whether there is any secret to take out."""
        return bool(self._forms)

    def __call__(self, text: str) -> str:
        """Return `text` without secrets; the very same object where there are none."""
        # Escapes first: a secret that ends in `&` would leave the rest of its `&amp;`.
        if self._forms and any(mark in text for mark in "%\\&+"):
            text = self._without_escaped(text)
        for form in self._forms:  # longest first: a form may contain another
            if form in text:
                text = text.replace(form, MASK)
        return text

    def _without_escaped(self, text: str) -> str:
        """Return `text` without the secrets that its normal form shows."""
        raw = _bytes(text)
        normal = _normal(raw)
        hits = [form for form in self._normal_forms if form in normal]
        if not hits:
            return text
        # Rare from here on, so a Python object per byte is fine: the span each byte came from.
        spans = [(at, at + 1) for at in range(len(raw))]
        normal = raw
        for _ in range(_ROUNDS):
            normal, spans = _resolved(normal, spans)
        normal = normal.replace(b"+", b" ")
        masked: list[tuple[int, int]] = []
        for form in hits:
            at = normal.find(form)
            while at >= 0:
                masked.append((spans[at][0], spans[at + len(form) - 1][1]))
                at = normal.find(form, at + 1)
        clean, at = b"", 0
        for start, stop in sorted(masked):
            if start >= at:
                clean += raw[at:start] + MASK.encode()
            at = max(at, stop)  # an overlapping one lengthens the mask
        return (clean + raw[at:]).decode("utf-8", _errors(text))

    def plain(self, value: Json) -> Json:
        """Return JSON with every string in it redacted, keys too."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self(key): self.plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(item) for item in value]
        return value


def _forms(secret: str) -> Iterator[str]:
    whole = secret.strip()
    for piece in {whole, *(line.strip() for line in whole.splitlines())}:
        if len(piece) >= SHORTEST:
            yield piece
            yield from _base64(piece.encode("utf-8", BYTES))


def _errors(text: str) -> str:
    """Return the error handler with which `text` becomes bytes and text again."""
    try:
        text.encode("utf-8", BYTES)
    except UnicodeEncodeError:  # half of a surrogate pair, from JSON
        return "surrogatepass"
    return BYTES


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", _errors(text))


def _normal(raw: bytes) -> bytes:
    """Return text with its escapes resolved, and `+` as the blank that it is in a URL."""
    for _ in range(_ROUNDS):
        resolved = _ESCAPES.sub(lambda match: _character(match[0]), raw)
        if resolved == raw:
            break
        raw = resolved
    return raw.replace(b"+", b" ")


def _resolved(raw: bytes, spans: list[tuple[int, int]]) -> tuple[bytes, list[tuple[int, int]]]:
    """Return one round of `_normal`, with the span of the source that each byte came from."""
    text, origins, at = bytearray(), list[tuple[int, int]](), 0
    for match in _ESCAPES.finditer(raw):
        character = _character(match[0])
        text += raw[at : match.start()] + character
        origins += spans[at : match.start()]
        origins += [(spans[match.start()][0], spans[match.end() - 1][1])] * len(character)
        at = match.end()
    return bytes(text + raw[at:]), origins + spans[at:]


@lru_cache(maxsize=4096)
def _character(escape: bytes) -> bytes:
    """Return what an escape stands for: a character as UTF-8, or the byte of a `%XX`."""
    if escape[:1] == b"%":
        return bytes.fromhex(escape[1:].decode())
    if escape[:2] == b"&#":  # not html.unescape, which drops control characters
        number = escape[2:-1].decode().lower()
        point = int(number[1:], 16) if number.startswith("x") else int(number)
        return chr(point).encode("utf-8", "surrogatepass") if point <= sys.maxunicode else escape
    if escape[:1] == b"&":
        from html.entities import html5  # noqa: PLC0415 - 5 ms, and rarely needed

        return html5.get(escape[1:].decode(), escape.decode()).encode()
    if escape[1:2] not in b"ux":
        return _LETTERS.get(escape[1:], escape[1:])
    halves = b"".join(int(part, 16).to_bytes(2, "big") for part in re.split(rb"\\[ux]", escape)[1:])
    return halves.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def _base64(raw: bytes) -> Iterator[str]:
    """Yield the characters that stand for `raw` wherever it begins within a longer base64 text.

    Three alignments; the first and last characters also carry bits of the neighbours and are
    left off.
    """
    for offset in range(3):
        padded = b"\0" * offset + raw
        start = -(-offset * 8 // 6)
        stop = len(padded) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            form = encode(padded).decode("ascii")[start:stop]
            if len(form) >= SHORTEST:
                yield form


def sanitized(completion: Completion, redact: Redactor) -> Completion:
    """Return `completion` with its time, without secrets, and such that it can be stored.

    Every string is Unicode that can be written (a model can send half a surrogate pair, which no
    file, database or digest takes), names and ids are cut, and every tool's arguments have a digest
    (a model can send a nesting that canonical JSON cannot carry).
    """
    room = LARGEST_ARGUMENTS

    def clean(text: str) -> str:
        return redact(without_surrogates(text))

    def name(text: str, most: int = LONGEST_NAME) -> str:
        text = clean(text)  # whole: half a key is a leak
        return text if len(text) <= most else f"{text[: most - 1]}…"

    def clean_call(call: ToolCall) -> ToolCall:
        nonlocal room
        try:
            arguments = redact.plain(_deep(call.arguments))
            room -= len(canonical(arguments))
        except (NotCanonical, RecursionError):
            arguments = clean(json.dumps(call.arguments))
        if room < 0 and not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        known = None if call.id is None else name(call.id, LONGEST_ID)
        return ToolCall(name=name(call.name), arguments=arguments, id=known)

    contexts, ids = completion.contexts, completion.ids
    return replace(
        completion,
        at=completion.at or datetime.now(UTC).isoformat(timespec="milliseconds"),
        text=None if completion.text is None else clean(completion.text),
        tool_calls=tuple(map(clean_call, completion.tool_calls)),
        finish_reason=name(completion.finish_reason),
        contexts=None if contexts is None else tuple(map(clean, contexts)),
        ids=None if ids is None else tuple(name(text, LONGEST_ID) for text in ids),
        served_model=completion.served_model and name(completion.served_model),
        fingerprint=completion.fingerprint and name(completion.fingerprint),
    )


def without_surrogates(text: str) -> str:
    """Return `text` with U+FFFD for every lone surrogate; nearly always the same object."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _deep(value: Json) -> Json:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, Mapping):
        return {without_surrogates(key): _deep(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_deep(item) for item in value]
    return value
