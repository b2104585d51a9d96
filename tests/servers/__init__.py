"""Servers that tests and benchmarks talk to over real sockets."""
