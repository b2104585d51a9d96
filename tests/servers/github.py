"""GitHub's API for comments and pull requests, on a real socket, as far as llmops speaks it.

with CommentServer() as github:
    run(env={"GITHUB_API_URL": github.url, "GITHUB_TOKEN": "…"})
assert github.bodies == ["…"]
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

BOT = "github-actions[bot]"


class CommentServer:
    """Comments of one repository's pull requests."""

    def __init__(self, *troubles: int) -> None:
        """Each of `troubles` is the status that answers one writing request, in their order."""
        self.comments: list[dict[str, Any]] = []
        self.pulls: list[dict[str, Any]] = []
        self.requested: list[str] = []
        """Method and path of every request."""
        self.tokens: set[str] = set()
        self.troubles = list(troubles)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments]

    def add(self, pull: int, body: str, author: str = BOT) -> dict[str, Any]:
        """A comment that is there."""
        created = {
            "id": len(self.comments) + 1,
            "body": body,
            "user": {"login": author, "type": "Bot" if author.endswith("[bot]") else "User"},
            "html_url": f"https://github.com/acme/prompts/pull/{pull}#c{len(self.comments) + 1}",
            "pull": pull,
        }
        self.comments.append(created)
        return created

    def __enter__(self) -> Self:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                content = json.loads(self.rfile.read(length) or b"{}")
                owner.requested.append(f"{self.command} {urlsplit(self.path).path}")
                owner.tokens.add(self.headers.get("Authorization", ""))
                code, value = owner._answer(self.command, self.path, content)
                body = json.dumps(value).encode()
                self.send_response(code)
                if code == 307:
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = answer  # noqa: N815 - the names that the library calls

            def log_message(self, *_: object) -> None:
                """Nothing: a test prints what it wants to."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _answer(self, method: str, target: str, content: dict[str, Any]) -> tuple[int, Any]:
        split = urlsplit(target)
        query = parse_qs(split.query)
        parts = split.path.strip("/").split("/")
        if method == "GET" and parts[3:] == ["pulls"]:
            return 200, [pull for pull in self.pulls if pull["label"] == query["head"][0]]
        if method == "GET":
            size, page = int(query["per_page"][0]), int(query["page"][0])
            mine = [comment for comment in self.comments if comment["pull"] == int(parts[4])]
            return 200, mine[(page - 1) * size : page * size]
        if self.troubles:
            code = self.troubles.pop(0)
            return code, {"message": f"trouble {code}"}
        if method == "POST":
            return 201, self.add(int(parts[4]), content["body"])
        (edited,) = [comment for comment in self.comments if comment["id"] == int(parts[5])]
        edited["body"] = content["body"]
        return 200, edited
