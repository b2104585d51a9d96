"""Answers that come together are written together, and each counts once it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import anyio
import pytest

from llmops_cli.core.errors import Unmeasured
from llmops_cli.core.ports import TrialKey
from llmops_cli.core.result import Completion
from llmops_cli.run.execute import WriteBatcher
from llmops_cli.stores.results import ResultsStore

ANSWERS = {
    TrialKey("sha256:" + f"{at:064x}", "gate", 0): Completion(text=f"answer {at}")
    for at in range(20)
}


class CountingStore(ResultsStore):
    """Counts its transactions; once `full`, it is a store on a full disk."""

    def __init__(self) -> None:
        super().__init__(None, durable=False)
        self.transactions = 0
        self.full = False

    def put_completions(self, completions: Iterable[tuple[TrialKey, Completion]]) -> None:
        if self.full:
            raise Unmeasured("the disk is full")
        self.transactions += 1
        super().put_completions(completions)


@pytest.fixture
def store() -> Iterator[CountingStore]:
    opened = CountingStore()
    yield opened
    opened.close()


def test_answers_that_come_together_are_one_transaction(store: CountingStore) -> None:
    async def kept(batcher: WriteBatcher, key: TrialKey) -> None:
        await batcher.put(store, key, ANSWERS[key])
        assert store.completions([key])  # it counts from here on

    async def all_at_once() -> None:
        batcher = WriteBatcher()
        async with anyio.create_task_group() as group:
            for key in ANSWERS:
                group.start_soon(kept, batcher, key)

    anyio.run(all_at_once)
    assert {key: each.text for key, each in store.completions(ANSWERS).items()} == {
        key: each.text for key, each in ANSWERS.items()
    }
    assert store.transactions == 1


def test_an_answer_that_has_come_is_kept_even_if_the_run_is_canceled(store: CountingStore) -> None:
    async def cut_short() -> None:
        batcher = WriteBatcher()
        async with anyio.create_task_group() as group:
            for key, answer in ANSWERS.items():
                group.start_soon(batcher.put, store, key, answer)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    anyio.run(cut_short)
    assert len(store.completions(ANSWERS)) == len(ANSWERS)


def test_who_shares_a_transaction_shares_its_trouble(store: CountingStore) -> None:
    told = []

    async def refused(batcher: WriteBatcher, key: TrialKey) -> None:
        with pytest.raises(Unmeasured, match="the disk is full"):
            await batcher.put(store, key, ANSWERS[key])
        told.append(key)

    async def all_at_once() -> None:
        batcher = WriteBatcher()
        async with anyio.create_task_group() as group:
            for key in ANSWERS:
                group.start_soon(refused, batcher, key)

    store.full = True
    anyio.run(all_at_once)
    assert len(told) == len(ANSWERS)
