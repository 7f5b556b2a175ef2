"""Forks children on demand, so that a test of many processes pays for the imports once.

A line of its input is JSON. `{"task": name, **arguments}` forks a child that does this task of `tasks.py`, and prints
the child's pid. `{"wait": pid}` waits for the child's end and prints its exit status, negative for a signal.
"""

import json
import os
import sys
import traceback

from tests.bayesopt.workers import tasks


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
            continue
        child = os.fork()
        if child == 0:
            status = 0
            try:
                getattr(tasks, order.pop("task"))(**order)
            except BaseException:
                traceback.print_exc()
                status = 1
            os._exit(status)
        print(child, flush=True)


if __name__ == "__main__":
    main()
