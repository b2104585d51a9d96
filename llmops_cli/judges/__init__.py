"""Judges: their calibration against human labels, and what is known about each."""
