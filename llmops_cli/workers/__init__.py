"""Runs code of the project in processes of its own, for scorers and applications.

Whatever such code does, raise, hang, exit, fork, print, flood, is returned as a `CodeFailure`.
Whether it may run at all was decided before. `child` and `guard` are scripts for those processes.
"""
