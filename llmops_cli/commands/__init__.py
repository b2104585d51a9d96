"""One function per command that evaluates or looks at a project."""
