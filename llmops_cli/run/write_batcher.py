"""Answers on their way to the disk: those that come together are written together.

An answer counts once it is written, and a transaction for each would hold up every answer behind
it. So the first to come lets the loop go round once: what else has arrived meanwhile joins it, and
one transaction writes them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from llmops_cli.core.ports import Results, TrialKey
from llmops_cli.core.result import Completion


@dataclass(slots=True, eq=False)
class _Batch:
    """Answers that are written in one transaction."""

    answers: list[tuple[TrialKey, Completion]] = field(default_factory=list)
    written: anyio.Event = field(default_factory=anyio.Event)
    trouble: BaseException | None = None


class WriteBatcher:
    """The way to the stores for all who put answers there at the same time."""

    def __init__(self) -> None:
        self._open: dict[Results, _Batch] = {}

    async def keep(self, results: Results, key: TrialKey, completion: Completion) -> None:
        """Returns when `completion` is in `results`; it gets there if the caller is cancelled, too.

        Raises what the store raises.
        """
        batch = self._open.get(results)
        if batch is None:
            await self._write_with_others(results, key, completion)
            return
        batch.answers.append((key, completion))
        await batch.written.wait()
        if batch.trouble is not None:
            raise batch.trouble

    async def _write_with_others(
        self, results: Results, key: TrialKey, completion: Completion
    ) -> None:
        batch = self._open[results] = _Batch([(key, completion)])
        await cancel_shielded_checkpoint()
        del self._open[results]
        try:
            results.put_completions(batch.answers)
        except BaseException as trouble:
            batch.trouble = trouble
            raise
        finally:
            batch.written.set()
