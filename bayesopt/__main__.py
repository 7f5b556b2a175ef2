"""`python -m bayesopt` is the command `bayesopt`."""

import sys

from bayesopt.cli import main

if __name__ == "__main__":
    sys.exit(main())
