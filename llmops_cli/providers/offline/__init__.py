"""Offline providers: the bundled retrieval model and recorded answers."""
