"""Versions, evidence and environments: what is released, measured, promoted and proved."""
