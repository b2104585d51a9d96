"""What an application uses: `load_prompt`, and the prompt it returns."""

from llmops_cli.runtime.loading import QuarantinedVersion, load_prompt
from llmops_cli.runtime.prompt import Prompt, Rendered, WrongInputs

__all__ = ["Prompt", "QuarantinedVersion", "Rendered", "WrongInputs", "load_prompt"]
