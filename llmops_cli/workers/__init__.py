"""Runs code of the project in processes of its own, for scorers and applications.

    project_code  files inside the project; path/to/file.py:function, found but not run
    child         the other side of the pipe, a script that imports nothing of llmops
    worker        one function in one process, one call at a time; a pool of them
    process       starts and ends processes; one program run once, or a server that stays
    guard         a script between llmops and a server, which ends it when llmops is gone

Whatever such code does, raise, hang, exit, fork, print, flood, is returned as a
`CodeFailure`. Whether it may run at all was decided before.
"""
