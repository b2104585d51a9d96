"""Applications of the user's own: a URL, a function or a program."""
