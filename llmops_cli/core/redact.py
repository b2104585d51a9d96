"""Remove secrets, and text that cannot be written, from what is read, stored or printed.

A secret is the value of an environment variable that is named as one, or that a model or header
of the project refers to, and the password in any URL of the environment (a proxy's). It is looked
for as it stands and in the forms in which it travels: URL-encoded, base64 and JSON-escaped; a
value of several lines also line by line. Text without secrets costs a substring search per form
and is returned as it came.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from urllib.parse import quote, quote_plus

from llmops_cli.core.digest import Json, NotCanonical, canonical
from llmops_cli.core.result import Completion, ToolCall

MASK = "[redacted]"
SHORTEST = 6
"""Characters. Anything shorter would blank out ordinary words and prove nothing."""

_NAMED_AS_SECRET = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PAT|CREDENTIALS?|AUTH)"
    r"(?:_|$)",
    re.IGNORECASE,
)


BYTES = "surrogateescape"
"""How Python keeps the bytes of a variable that are no UTF-8."""
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")


class Redactor:
    """Replaces every known form of every known secret by `[redacted]`."""

    __slots__ = ("_forms",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Take the secrets' values; those under `SHORTEST` characters are ignored."""
        forms = {form for secret in secrets for form in _forms(secret)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    @classmethod
    def of(cls, environ: Mapping[str, str], names: Iterable[str] = ()) -> Redactor:
        """Return a redactor of the variables in `names` and of those named as secrets."""
        listed = frozenset(names)
        values = [
            value
            for name, value in environ.items()
            if name in listed or _NAMED_AS_SECRET.search(name)
        ]
        passwords = (_PASSWORD_IN_URL.findall(value) for value in environ.values())
        return cls([*values, *chain.from_iterable(passwords)])

    def __bool__(self) -> bool:
        """Whether there is any secret to take out."""
        return bool(self._forms)

    def __call__(self, text: str) -> str:
        """Return `text` without secrets; the very same object where there are none."""
        for form in self._forms:  # longest first: a form may contain another
            if form in text:
                text = text.replace(form, MASK)
        return text

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
        if len(piece) < SHORTEST:
            continue
        yield piece
        yield quote(piece, safe="", errors=BYTES)
        yield quote_plus(piece, errors=BYTES)
        yield json.dumps(piece)[1:-1]
        yield json.dumps(piece, ensure_ascii=False)[1:-1]
        yield from _base64(piece.encode("utf-8", BYTES))


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
    file, database or digest takes) and every tool's arguments have a digest (a model can send a
    nesting that canonical JSON cannot carry).
    """

    def clean(text: str) -> str:
        return redact(without_surrogates(text))

    def clean_call(call: ToolCall) -> ToolCall:
        try:
            arguments = redact.plain(_deep(call.arguments))
            canonical(arguments)
        except (NotCanonical, RecursionError):
            arguments = clean(json.dumps(call.arguments))
        return ToolCall(name=clean(call.name), arguments=arguments)

    contexts, ids = completion.contexts, completion.ids
    return replace(
        completion,
        at=completion.at or datetime.now(UTC).isoformat(timespec="milliseconds"),
        text=None if completion.text is None else clean(completion.text),
        tool_calls=tuple(map(clean_call, completion.tool_calls)),
        finish_reason=clean(completion.finish_reason),
        contexts=None if contexts is None else tuple(map(clean, contexts)),
        ids=None if ids is None else tuple(map(clean, ids)),
        served_model=completion.served_model and clean(completion.served_model),
        fingerprint=completion.fingerprint and clean(completion.fingerprint),
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
