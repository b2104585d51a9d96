"""The scorers in which a model judges: options, calls and the prompts that come with llmops."""

from __future__ import annotations

from collections.abc import Mapping

from llmops_cli.core.catalogue import Option, ScorerKind

JUDGE: Mapping[str, Option] = {
    "model": Option(
        type=str,
        help="who judges: a name from llmops.yaml or provider/model; default: the judge prompt's "
        "own, which is `judge` in those that come with llmops",
        template=False,
    ),
    "prompt": Option(
        type=str, help="a prompt of the project to judge with; default: ours", template=False
    ),
    "expected": Option(
        type=bool, help="show the judge the case's expected (default false)", template=False
    ),
    "contexts": Option(
        type=bool,
        help="show the judge the passages that were answered from (default false)",
        template=False,
    ),
    "reason": Option(
        type=bool,
        help="ask for the reason too (default true); without, it costs less",
        template=False,
    ),
}

JUDGED = (
    ScorerKind(
        name="rubric",
        target="llmops_cli.scorers.rubric:rubric",
        check="llmops_cli.scorers.rubric:check_rubric",
        summary="A model judges the answer by criteria in words: pass or fail, or a grade.",
        options={
            "criteria": Option(type=str, help="what a good answer is", required=True),
            "scale": Option(
                type=list[int],
                help="lowest and highest grade, as [1, 5]: the score is the grade's place "
                "between them",
                template=False,
            ),
            **JUDGE,
        },
        shorthand="criteria",
        unit="fraction",
        minimum=1.0,
        judged=True,
        asks={"judge": 1},
        prompt="rubric",
    ),
    ScorerKind(
        name="choice",
        target="llmops_cli.scorers.rubric:choice",
        check="llmops_cli.scorers.rubric:check_choice",
        summary="A model sorts the answer into one of named classes, each worth a score.",
        options={
            "criteria": Option(type=str, help="what the classes are about", required=True),
            "choices": Option(
                type=dict[str, float],
                help="the classes, each with its score from 0 to 1",
                required=True,
                template=False,
            ),
            **JUDGE,
        },
        unit="fraction",
        minimum=1.0,
        judged=True,
        asks={"judge": 1},
        prompt="choice",
    ),
    ScorerKind(
        name="pairwise",
        target="llmops_cli.scorers.pairwise:pairwise",
        summary="A model says whether the answer is better than the baseline's, in both orders.",
        options={
            "criteria": Option(
                type=str, help="what makes an answer better (default: it helps more)"
            ),
            **JUDGE,
        },
        shorthand="criteria",
        unit="fraction",
        minimum=0.5,
        judged=True,
        asks={"judge": 2},
        prompt="pairwise",
        paired=True,
    ),
)
