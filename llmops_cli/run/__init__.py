"""A run: who meets whom, what is missing, calling it, and the verdict."""
