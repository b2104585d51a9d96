"""Say where the local store is: cached answers and scores, the last reports, logs of engines.

On a laptop that is `.llmops/store`, which git ignores. A CI job works on a checkout whose author
may be anyone, so its store lies outside of the work tree, and another run has another one: on a
machine that is used again, no answer of one change serves the next. `LLMOPS_STORE` names another
folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from llmops_cli.core.ci import ci_context

VARIABLE = "LLMOPS_STORE"
_RUN = re.compile(r"(.*_)?(RUN|BUILD|PIPELINE|WORKFLOW)_?(ID|NUMBER|NUM|TAG|SLUG)")
"""Matches the variables that say which run this is: `GITHUB_RUN_ID`, `CI_PIPELINE_ID`,
`CIRCLE_WORKFLOW_ID`, Jenkins' `BUILD_TAG`, Azure's `BUILD_BUILDID` and those of other systems.
"""


def store_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Return the store's folder of the project in `root`, absolute; it need not exist.

    `run.workspace.checked_store` says whether it may be opened.
    """
    named = environ.get(VARIABLE)
    if not named and ci_context(environ, None) is None:
        return root / ".llmops" / "store"
    if not named:
        run = [environ[name] for name in sorted(environ) if _RUN.fullmatch(name)]
        key = hashlib.sha256("\0".join([str(root.resolve()), *run]).encode()).hexdigest()[:12]
        cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
        named = f"{cache}/llmops/{key}"
    # not `Path.expanduser`, which raises where nobody has a home; not `resolve`: links stay
    return Path(os.path.abspath(root / os.path.expanduser(named)))  # noqa: PTH100, PTH111
