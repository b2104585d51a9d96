"""Files of other evaluation tools, turned into prompts, evalsets and models of a project.

Importing reads text and writes text. Nothing of a foreign configuration is ever executed: no
`exec:`, no JavaScript, no Python, no network, and no file outside the folder it stands in. What
cannot be carried over is a `Note` with its line.
"""
