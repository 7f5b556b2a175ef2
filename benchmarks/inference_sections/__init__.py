"""Sections of `benchmarks/inference.py`, one claim a file."""
