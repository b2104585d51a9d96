"""A released prompt in a running application: immutable, typed, safe to share between threads.

It renders with the same templates as `llmops eval`, so that what was measured is what is sent.
The template engine is imported at the first rendering: loading a prompt costs less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from llmops_cli.core.case import Case
from llmops_cli.core.errors import InvalidFiles
from llmops_cli.core.prompt import Target
from llmops_cli.core.release import Version
from llmops_cli.runtime.inputs import WrongInputs, checked, turns
from llmops_cli.runtime.rendered import Rendered

if TYPE_CHECKING:
    from llmops_cli.files.template import Templates


@dataclass(frozen=True, eq=False, kw_only=True)
class Prompt:
    """One version of a prompt, as it was released."""

    _version: Version = field(repr=False)

    def __str__(self) -> str:
        return self._version.address

    @property
    def name(self) -> str:
        return self._version.name

    @property
    def version(self) -> int:
        return self._version.number

    @property
    def digest(self) -> str:
        """Of the target: what evidence and `llmops status` know the version by."""
        return self._version.target

    @property
    def provider(self) -> str:
        """`openai`, `anthropic`, `vllm` …"""
        return self._version.model.provider

    @property
    def model(self) -> str:
        """The provider's name for the model."""
        return self._version.model.model

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names that `render` takes."""
        return tuple(self._version.prompt.inputs)

    def render(self, earlier: Sequence[Mapping[str, object]] = (), /, **inputs: object) -> Rendered:
        """The request for `inputs`.

        `earlier` are the turns of a conversation so far, `{"role": …, "content": …}`; they come
        before the prompt's last user turn. Raises `WrongInputs`, a `TypeError`, for inputs that
        are missing, not declared or of another type.
        """
        address = str(self)
        case = Case(
            id=address,
            inputs=checked(address, inputs, self._version.prompt.inputs),
            messages=turns(address, earlier),
        )
        try:
            messages = self._templates.messages(case)
        except InvalidFiles as error:
            raise WrongInputs("; ".join(each.message for each in error.problems)) from error
        return Rendered(
            name=self.name,
            version=self.version,
            digest=self.digest,
            request=self._target.request(messages),
        )

    @cached_property
    def _target(self) -> Target:
        return Target(prompt=self._version.prompt, model=self._version.model)

    @cached_property
    def _templates(self) -> Templates:
        templates: Templates = import_module("llmops_cli.files.template").Templates(
            self._version.prompt
        )
        return templates
