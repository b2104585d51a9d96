"""Post the one comment of a gate on a pull request: create it, or update the one that is there.

Uses GitHub's REST API with the standard library alone. The comment is recognized by its mark and
its author: anybody can copy a mark. Server errors are retried twice, and each time the comment is
looked for first, so that no second one appears. The token goes into one header, to one address;
redirects are not followed.
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
from urllib.request import HTTPRedirectHandler, Request, build_opener

OURS = "github-actions[bot]"
"""Who writes with the token that GitHub gives to a job. No person's account can have this name."""
PAGE = 100
PAGES = 30
"""Of comments that are searched."""
TIMEOUT = 30.0
"""Seconds for one request."""
WAITS = (0.5, 2.0)
"""Seconds between attempts."""
LONGEST_WAIT = 30.0
"""Seconds: a server that asks for more is not waited for."""
LARGEST = 16_000_000
"""Bytes of an answer that are read."""


class NotPosted(Exception):
    """GitHub did not accept the comment; the message says why, and never holds the token."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait
        """Seconds after which a retry may help; None: it will not."""


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """Return None: another address does not get the token."""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository on GitHub, and the token to comment there."""

    name: str
    """`owner/name`."""
    token: str
    api: str = "https://api.github.com"
    author: str = OURS
    """Whose comments are ours."""

    def put(self, pull: int, body: str, mark: str) -> str:
        """Create or update the comment that starts with `mark`, and return its address.

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
        """Return the open pull request of `owner`'s `branch`, while `commit` is its newest.

        Raises `NotPosted`.
        """
        query = urlencode({"state": "open", "head": f"{owner}:{branch}", "per_page": PAGE})
        for pull in _objects(self._send("GET", f"/repos/{self.name}/pulls?{query}")):
            if _at(pull, "head", "sha") == commit and isinstance(pull.get("number"), int):
                return int(pull["number"])
        return None

    def _put(self, pull: int, body: str, mark: str) -> str:
        method, path = "POST", f"/repos/{self.name}/issues/{pull}/comments"
        for comment in self._comments(pull):
            text, number = comment.get("body"), comment.get("id")
            is_ours = _at(comment, "user", "login") == self.author
            if is_ours and isinstance(text, str) and text.startswith(mark) and type(number) is int:
                method, path = "PATCH", f"/repos/{self.name}/issues/comments/{number}"
                break
        return str(_at(self._send(method, path, {"body": body}), "html_url") or "")

    def _comments(self, pull: int) -> Iterator[Mapping[str, Any]]:
        for page in range(1, PAGES + 1):
            query = urlencode({"per_page": PAGE, "page": page})
            path = f"/repos/{self.name}/issues/{pull}/comments?{query}"
            comments = _objects(self._send("GET", path))
            yield from comments
            if len(comments) < PAGE:
                return

    def _send(self, method: str, path: str, content: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
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
            with build_opener(_NoRedirects).open(request, timeout=TIMEOUT) as response:
                return json.loads(response.read(LARGEST))
        except HTTPError as error:
            with error:
                message = f"{what}: {error.code} {_reason(error)}"
                raise NotPosted(message, wait=_wait(error)) from None
        except (URLError, HTTPException, OSError) as error:
            why = getattr(error, "reason", None) or error
            raise NotPosted(f"{what}: {why}", wait=0.0) from None
        except ValueError:
            raise NotPosted(f"{what}: the answer is not JSON", wait=0.0) from None


def _reason(error: HTTPError) -> str:
    """Return GitHub's own message, or the protocol's."""
    try:
        message = _at(json.loads(error.read(10_000)), "message")
    except (ValueError, OSError):
        message = None
    return str(message or error.reason)[:300]


def _wait(error: HTTPError) -> float | None:
    """Return the seconds after which a retry may help; None: never, or not soon."""
    retry_after = error.headers.get("Retry-After", "")
    if retry_after.isdecimal():
        return float(retry_after) if float(retry_after) <= LONGEST_WAIT else None
    return 0.0 if error.code >= 500 or error.code == 429 else None


def _objects(value: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401 - JSON
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _at(value: Any, *path: str) -> Any:  # noqa: ANN401 - JSON
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
