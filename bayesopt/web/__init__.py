"""A page to watch a study in the browser: read-only, live, and nothing on it comes from anywhere else.

from bayesopt.web import serve

serve(study)    # or, from a terminal: bayesopt serve tune.db
"""

try:
    from bayesopt.web.application import application
    from bayesopt.web.server import serve
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] not in ("starlette", "uvicorn"):
        raise
    raise ModuleNotFoundError(
        "bayesopt.web needs starlette and uvicorn: pip install 'priorwise[web]'.", name=error.name
    ) from None

__all__ = ["application", "serve"]
