"""Code of the project, run in processes of its own: what scorers and applications have in common.

    project     files that stand inside the project
    function    path/to/file.py:function: where it is, and whether it is there
    child       the other side of the pipe, a script that imports nothing of llmops
    worker      one function in one process, one call at a time; a pool of them
    program     one program, run once
    group       what starts and ends them: a process group, and the short list of its environment

Whatever such code does, raise, hang, exit, fork, print, flood, comes back as a value (`Trouble`).
Whether it may run at all was decided before (`core.trust`).
"""
