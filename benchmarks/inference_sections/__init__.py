"""Sections of `benchmarks/approximate_inference.py`, one claim a file."""
