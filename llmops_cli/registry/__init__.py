"""Versions in git: release, measure, promote, roll back, verify, and what runs where."""
