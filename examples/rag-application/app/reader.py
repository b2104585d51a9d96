"""Answer a question from the retrieved pages.

`quote_sentences` needs no key: it quotes the sentences that share most words with the question.
`call_model` uses a language model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.retriever import words

MODEL = "gpt-4.1-mini"
ASK = "Answer the question from these pages, in one short sentence.\n\n{pages}"


def call_model(question: str, pages: Sequence[str]) -> str:
    """Return the model's answer. Needs OPENAI_API_KEY."""
    from openai import OpenAI  # noqa: PLC0415 - takes a second to import

    reply = OpenAI().chat.completions.create(
        model=MODEL,
        temperature=0,
        messages=[
            {"role": "system", "content": ASK.format(pages="\n\n".join(pages))},
            {"role": "user", "content": question},
        ],
    )
    return reply.choices[0].message.content or ""


def quote_sentences(question: str, pages: Sequence[str], *, count: int = 2) -> str:
    """Return the `count` sentences of the best page that share most words with the question."""
    sentences = re.split(r"(?<=[a-z0-9)][.!?])\s*(?=[A-Z])", pages[0]) if pages else []
    asked = set(words(question))
    best = sorted(sentences, key=lambda sentence: -len(asked & set(words(sentence))))
    return " ".join(best[:count])


READ = quote_sentences
"""The reader in use. Set it here and not in an environment variable, so that a change of it changes
the identity in llmops.yaml."""
