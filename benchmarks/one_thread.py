"""One thread for every library, so that seconds of CPU are seconds of one core."""

import os
import sys

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def restart_with_one_thread() -> None:
    """Start the running script again where a library may use several threads: they read these variables once."""
    if any(os.environ.get(variable) != "1" for variable in _VARIABLES):
        os.environ.update(dict.fromkeys(_VARIABLES, "1"))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
