"""JSON over HTTP to any server: what is sent, what comes back, and what can go wrong."""
