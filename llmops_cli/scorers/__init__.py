"""The scorers of answers, loaded by name from the catalog."""
