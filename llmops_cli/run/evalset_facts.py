"""What one evalset asks of a prompt, as evidence, run files and promotions name it."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_cli.core.digest import Json, digest
from llmops_cli.core.release import EvalsetFacts
from llmops_cli.gate.judges import GatingJudge, shrinkage
from llmops_cli.run.comparison import EvalsetSelection
from llmops_cli.run.scorers import Scorers


def evalset_facts(
    this: EvalsetSelection, scorers: Scorers, *, look: int = 1, gating: Sequence[GatingJudge] = ()
) -> EvalsetFacts:
    """What is asked of a prompt by one evalset: cases, scorers, policy and its `gating` judges."""
    due: list[Json] = [
        [case.id, case.facts, [bound.digest for bound in scorers.due(case)]] for case in this.cases
    ]
    return EvalsetFacts(
        evalset=this.evalset.name,
        digest=digest("llmops/evalset/v1", due),
        cases=len(this.cases),
        policy=this.policy,
        metrics=tuple(scorers.metrics),
        retired=this.evalset.retired,
        look=look,
        shrinkage=shrinkage(gating, scorers.metrics),
    )
