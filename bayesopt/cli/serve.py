"""`bayesopt serve`: a study in the browser."""

import argparse

from bayesopt.cli.stored import located, opened
from bayesopt.errors import BayesoptError


def serve_study(arguments: argparse.Namespace) -> int:
    """Show a study in the browser until Ctrl-C; the exit status."""
    with opened(*located(arguments)) as study:
        try:
            from bayesopt.web import serve  # late: it brings the web server
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in ("starlette", "uvicorn"):
                raise
            raise BayesoptError(str(error)) from None
        serve(study, host=arguments.host, port=arguments.port)
    return 0
