"""Files that llmops writes and reads: results, run files, versions, evidence, events, and git."""

import os

# GitPython looks for a git program on import, and raises where there is none unless told not to
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
