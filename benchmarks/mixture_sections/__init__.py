"""Sections of `benchmarks/mixture.py`."""
