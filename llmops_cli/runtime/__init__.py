"""What an application needs of llmops: `load_prompt`, and the types that it deals in."""

from llmops_cli.runtime.inputs import WrongInputs
from llmops_cli.runtime.loading import QuarantinedVersion, load_prompt
from llmops_cli.runtime.prompt import Prompt
from llmops_cli.runtime.rendered import Rendered

__all__ = ["Prompt", "QuarantinedVersion", "Rendered", "WrongInputs", "load_prompt"]
