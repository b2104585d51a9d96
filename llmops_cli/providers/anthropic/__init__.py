"""Claude, over its messages API."""
