"""What pools of processes evaluate: apart from the tests, so that a child imports little."""

import os
import signal


def square(params):
    return {"loss": (params["x"] - 0.3) ** 2, "process": os.getpid()}


def dies_at_the_third(params):
    if params.id == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(params)
