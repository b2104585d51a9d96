"""The catalog of scorers and providers, and the one place that loads their code.

Reading the catalog imports no scorer, provider or vendor. The code behind a row is imported when a
score or a call is due; what is missing there is reported before any call.
"""

from llmops_cli.plugins.catalog import catalog
from llmops_cli.plugins.keys import scorer_digest, volatile
from llmops_cli.plugins.loading import (
    check_ready,
    command_of,
    load_scorer,
    open_provider,
    open_records,
    open_scorer,
    wrong_options,
)
from llmops_cli.plugins.providers import PROVIDERS
from llmops_cli.plugins.scorers import SCORERS

__all__ = [
    "PROVIDERS", "SCORERS", "catalog", "check_ready", "command_of", "load_scorer",
    "open_provider", "open_records", "open_scorer", "scorer_digest", "volatile", "wrong_options",
]  # fmt: skip
