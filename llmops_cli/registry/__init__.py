"""Names to code."""
