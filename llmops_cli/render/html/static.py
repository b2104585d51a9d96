"""Small pages without a script: a template of this folder, filled with values as text."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from llmops_cli.core.redact import Redactor
from llmops_cli.render.safe_text import visible


def static_page(template: str, *, redact: Redactor, **values: object) -> str:
    """Return the page; every value is redacted, made visible and escaped."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(redact(str(value))),
        trim_blocks=True,
    )
    source = (files("llmops_cli.render.html") / template).read_text(encoding="utf-8")
    return environment.from_string(source).render(**values)
