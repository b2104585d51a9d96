"""Judges held against people's labels, and what the gate makes of each."""
