"""`python -m llmops_cli`: the same program as `llmops`, where no script is on the path."""

from __future__ import annotations

from llmops_cli.cli.main import main

if __name__ == "__main__":
    main()
