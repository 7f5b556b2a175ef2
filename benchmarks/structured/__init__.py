"""Sections of `benchmarks/structured_gp.py`: each module has `section()`, which measures and yields Markdown."""
