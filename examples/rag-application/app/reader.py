"""Answers a question from the pages that were found.

`quoted` needs no key: it quotes the sentences that share most words with the question. It is no
language model, and enough to see which half of the application is broken. `asked` asks a model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.retriever import words

MODEL = "gpt-4.1-mini"
ASK = "Answer the question from these pages, in one short sentence.\n\n{pages}"


def asked(question: str, pages: Sequence[str]) -> str:
    """What the model says; needs OPENAI_API_KEY."""
    from openai import OpenAI  # noqa: PLC0415 - a second to import, and only where it is used

    reply = OpenAI().chat.completions.create(
        model=MODEL,
        temperature=0,
        messages=[
            {"role": "system", "content": ASK.format(pages="\n\n".join(pages))},
            {"role": "user", "content": question},
        ],
    )
    return reply.choices[0].message.content or ""


def quoted(question: str, pages: Sequence[str], *, count: int = 2) -> str:
    """The `count` sentences of the best page that share most words with the question."""
    sentences = re.split(r"(?<=[a-z0-9)][.!?])\s*(?=[A-Z])", pages[0]) if pages else []
    wanted = set(words(question))
    best = sorted(sentences, key=lambda each: -len(wanted & set(words(each))))
    return " ".join(best[:count])


READ = quoted
"""The reader in use. What it is must stand here, in a file, and not in an environment variable:
only then does the identity in llmops.yaml say what answered."""
