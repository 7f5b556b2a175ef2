"""The benchmarks are scripts beside the packages, not a package: their folder is put on the path."""

import sys
from pathlib import Path

# last: a script there may bear the name of a package, as `inference.py` does
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
