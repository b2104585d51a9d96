from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmops_cli.stores import comments as module
from llmops_cli.stores.comments import NotPosted, Repository
from tests.servers.github import BOT, CommentServer

MARK = "<!-- llmops gate: llmops -->"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CommentServer]:
    monkeypatch.setattr(module, "WAITS", (0.0, 0.0))
    with CommentServer() as running:
        yield running


def put(server: CommentServer, text: str, *, author: str = BOT) -> str:
    repository = Repository(
        name="acme/prompts", token="secret-token", api=server.url, author=author
    )
    return repository.put(7, f"{MARK}\n{text}", MARK)


def test_it_is_made_once_and_changed_after(server: CommentServer) -> None:
    made, changed = put(server, "one"), put(server, "two")
    assert made == changed == "https://github.com/acme/prompts/pull/7#c1"
    assert server.bodies == [f"{MARK}\ntwo"]
    assert server.tokens == {"Bearer secret-token"}


def test_a_mark_of_someone_else_or_on_another_pull_request_is_not_ours(
    server: CommentServer,
) -> None:
    server.add(7, f"{MARK}\nI can copy a mark", author="mallory")
    server.add(7, f"{MARK}\nso can another bot", author="helper[bot]")
    server.add(7, f"I quote: {MARK}")
    server.add(8, f"{MARK}\nelsewhere")
    put(server, "ours")
    assert len(server.comments) == 5
    assert server.bodies[4] == f"{MARK}\nours"


def test_it_is_found_beyond_the_first_hundred(server: CommentServer) -> None:
    for at in range(230):
        server.add(7, f"{MARK}\nold" if at == 229 else f"comment {at}")
    put(server, "new")
    assert len(server.comments) == 230
    assert server.bodies[-1] == f"{MARK}\nnew"


@pytest.mark.parametrize("code", [403, 404, 422, 307])
def test_what_is_refused_is_not_asked_for_twice(server: CommentServer, code: int) -> None:
    server.troubles = [code]
    with pytest.raises(NotPosted, match=f"{code} trouble {code}") as raised:
        put(server, "x")
    assert "secret-token" not in str(raised.value)
    assert [each for each in server.requested if each.startswith("POST")] == [
        "POST /repos/acme/prompts/issues/7/comments"
    ]


def test_trouble_of_the_server_is_tried_again_and_makes_no_second_comment(
    server: CommentServer,
) -> None:
    server.troubles = [502, 503]
    put(server, "x")
    assert len(server.comments) == 1
    server.troubles = [502, 500, 503]
    with pytest.raises(NotPosted, match="503"):
        put(server, "y")


def test_a_server_that_is_not_there_is_said(server: CommentServer) -> None:
    nowhere = Repository(name="acme/prompts", token="secret-token", api="http://127.0.0.1:9")
    with pytest.raises(NotPosted, match="refused"):
        nowhere.put(7, MARK, MARK)


def test_a_pull_request_is_found_by_its_branch_while_it_stands_at_the_commit(
    server: CommentServer,
) -> None:
    server.pulls = [
        {"number": 5, "label": "mallory:patch-1", "head": {"sha": "a" * 40}},
        {"number": 6, "label": "mallory:patch-1", "head": {"sha": "b" * 40}},
    ]
    repository = Repository(name="acme/prompts", token="secret-token", api=server.url)
    assert repository.pull_of("mallory", "patch-1", "b" * 40) == 6
    assert repository.pull_of("mallory", "patch-1", "c" * 40) is None
    assert repository.pull_of("acme", "patch-1", "b" * 40) is None
