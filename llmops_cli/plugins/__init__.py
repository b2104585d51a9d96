"""Names to code: what scorers and providers there are, and the one place that loads them.

Reading the catalogue imports no scorer, provider or vendor. The code behind a row is imported by
`load` when a score or a call is really due; what is missing there is said before any call.
"""

from llmops_cli.plugins.catalog import catalog
from llmops_cli.plugins.keys import scorer_digest, volatile
from llmops_cli.plugins.loading import (
    check_ready,
    command_of,
    load,
    load_scorer,
    open_provider,
    open_records,
    open_scorer,
    wrong_options,
)
from llmops_cli.plugins.providers import PROVIDERS
from llmops_cli.plugins.scorers import SCORERS

__all__ = [
    "PROVIDERS",
    "SCORERS",
    "catalog",
    "check_ready",
    "command_of",
    "load",
    "load_scorer",
    "open_provider",
    "open_records",
    "open_scorer",
    "scorer_digest",
    "volatile",
    "wrong_options",
]
