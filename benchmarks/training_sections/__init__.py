"""What `benchmarks/training.py` measures, one file a section or two."""
