"""The one comment of a gate on a pull request: found by its mark and its author, made or changed.

Speaks GitHub's REST API with the standard library alone. A comment with the right mark by
somebody else is somebody else's: anyone can copy a mark. Trouble of the server is tried again
twice, and what was made meanwhile is looked for first, so that no second comment appears. The
token goes into one header, to one address; redirects are not followed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

OURS = "github-actions[bot]"
"""Who writes with the token that GitHub gives to a job. No person's account can be called so."""
PAGE = 100
PAGES = 30
"""Of comments, that are looked through."""
TIMEOUT = 30.0
"""Seconds for one request."""
WAITS = (0.5, 2.0)
"""Seconds between attempts."""
LONGEST_WAIT = 30.0
"""Seconds: a server that asks for more is not waited for."""
LARGEST = 16_000_000
"""Bytes of an answer that are read."""


class NotPosted(Exception):
    """GitHub did not take the comment; the message says why, and never holds the token."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait
        """Seconds after which trying again may help; None: it will not."""


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """None: whoever redirects gets no token."""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository on GitHub, and the right to comment there."""

    name: str
    """`owner/name`."""
    token: str
    api: str = "https://api.github.com"
    author: str = OURS
    """Whose comments are ours."""

    def put(self, pull: int, body: str, mark: str) -> str:
        """Makes or changes the comment that begins with `mark`; its address.

        Raises `NotPosted`.
        """
        for wait in (*WAITS, None):
            try:
                return self._put(pull, body, mark)
            except NotPosted as error:
                if wait is None or error.wait is None:
                    raise
                time.sleep(min(max(wait, error.wait), LONGEST_WAIT))
        raise AssertionError

    def pull_of(self, owner: str, branch: str, commit: str) -> int | None:
        """The open pull request of `owner`'s `branch`, while `commit` is its newest.

        Raises `NotPosted`.
        """
        query = urlencode({"state": "open", "head": f"{owner}:{branch}", "per_page": PAGE})
        for each in _objects(self._ask("GET", f"/repos/{self.name}/pulls?{query}")):
            if _at(each, "head", "sha") == commit and isinstance(each.get("number"), int):
                return int(each["number"])
        return None

    def _put(self, pull: int, body: str, mark: str) -> str:
        ours = self._ours(pull, mark)
        if ours is None:
            path = f"/repos/{self.name}/issues/{pull}/comments"
            made = self._ask("POST", path, {"body": body})
        else:
            path = f"/repos/{self.name}/issues/comments/{ours}"
            made = self._ask("PATCH", path, {"body": body})
        return str(_at(made, "html_url") or "")

    def _ours(self, pull: int, mark: str) -> int | None:
        for each in self._comments(pull):
            text, number = each.get("body"), each.get("id")
            mine = _at(each, "user", "login") == self.author
            if mine and isinstance(text, str) and text.startswith(mark) and type(number) is int:
                return number
        return None

    def _comments(self, pull: int) -> Iterator[Mapping[str, Any]]:
        for page in range(1, PAGES + 1):
            query = urlencode({"per_page": PAGE, "page": page})
            path = f"/repos/{self.name}/issues/{pull}/comments?{query}"
            found = _objects(self._ask("GET", path))
            yield from found
            if len(found) < PAGE:
                return

    def _ask(self, method: str, path: str, content: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        request = Request(  # noqa: S310 - the address is the runner's own
            self.api.rstrip("/") + quote(path, safe="/?&=%:+"),
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Accept": "application/vnd.github+json",
                "Content-Type": "application/json",
                "User-Agent": "llmops",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        what = f"{method} {path.partition('?')[0]}"
        try:
            with _opener().open(request, timeout=TIMEOUT) as answer:
                return json.loads(answer.read(LARGEST))
        except HTTPError as error:
            with error:
                raise NotPosted(
                    f"{what}: {error.code} {_reason(error)}", wait=_wait(error)
                ) from None
        except (URLError, HTTPException, OSError) as error:
            why = getattr(error, "reason", None) or error
            raise NotPosted(f"{what}: {why}", wait=0.0) from None
        except ValueError:
            raise NotPosted(f"{what}: the answer is no JSON", wait=0.0) from None


def _opener() -> OpenerDirector:
    return build_opener(_NoRedirects)


def _reason(error: HTTPError) -> str:
    """GitHub's own words, or the protocol's."""
    try:
        said = json.loads(error.read(10_000))
    except (ValueError, OSError):
        said = None
    message = said.get("message") if isinstance(said, dict) else None
    return str(message or error.reason)[:300]


def _wait(error: HTTPError) -> float | None:
    """Seconds after which the same request may be answered; None: never, or not soon."""
    asked = error.headers.get("Retry-After", "")
    if asked.isdecimal():
        return float(asked) if float(asked) <= LONGEST_WAIT else None
    return 0.0 if error.code >= 500 or error.code == 429 else None


def _objects(value: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401 - JSON
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _at(value: Any, *path: str) -> Any:  # noqa: ANN401 - JSON
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
