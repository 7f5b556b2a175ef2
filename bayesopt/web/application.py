"""The page as an ASGI application: files of our own, and what a study holds as JSON. Nothing here writes."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from bayesopt.errors import InvalidInputError, StorageError
from bayesopt.study import Study
from bayesopt.web.adviser import Adviser
from bayesopt.web.drawing import Drawing
from bayesopt.web.facts import details, facts
from bayesopt.web.guard import Guard
from bayesopt.web.snapshot import Snapshot
from bayesopt.web.table import table
from bayesopt.web.texts import shortened

FILES: Final = {
    "page.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "page.js": "text/javascript; charset=utf-8",
    "marks.js": "text/javascript; charset=utf-8",
    "progress.js": "text/javascript; charset=utf-8",
    "parallel.js": "text/javascript; charset=utf-8",
    "constraints.js": "text/javascript; charset=utf-8",
    "panels.js": "text/javascript; charset=utf-8",
    "table.js": "text/javascript; charset=utf-8",
}
"""Everything that the browser may load besides data, in the folder `files`."""

_LEAST_PAUSE: Final = 1.0
"""Seconds between two looks at the study, however many browsers watch;"""
_PAUSE: Final = 9.0
"""and times the processor time of the last one, so that looking takes a tenth of one processor at most."""
_LONGEST_PAUSE: Final = 10.0
"""Seconds after which the page is never older."""


@dataclass(frozen=True)
class _Look:
    snapshot: Snapshot
    body: bytes
    """The study as JSON."""
    version: str
    """Differs whenever the body does."""


class Watch:
    """Looks at a study now and then, and answers from the last look in between."""

    def __init__(self, study: Study) -> None:
        """Look at nothing yet.

        Args:
            study: The study to watch.
        """
        self.study = study
        self._adviser = Adviser(study)
        self._drawing = Drawing(study.space, study.outcomes)
        self._lock = threading.Lock()
        self._last: _Look | None = None
        self._pause_until = 0.0

    def look(self) -> _Look:
        """The study, as it was not long ago.

        Returns:
            The last look, or a new one where that is old.

        Raises:
            StorageError: If the storage cannot be read.
        """
        with self._lock:
            if self._last is None or time.monotonic() >= self._pause_until:
                started = time.thread_time()
                self._last = self._new_look()
                pause = _PAUSE * (time.thread_time() - started)
                self._pause_until = time.monotonic() + min(max(_LEAST_PAUSE, pause), _LONGEST_PAUSE)
            return self._last

    def _new_look(self) -> _Look:
        snapshot = Snapshot.of(self.study)
        content = facts(self.study, snapshot, self._adviser) | {"drawing": self._drawing.draw(snapshot)}
        body = _json(content)
        return _Look(snapshot, body, hashlib.sha256(body).hexdigest()[:16])


def application(study: Study, *, hosts: Collection[str] = ()) -> ASGIApp:
    """The page as an ASGI application, for a server of one's own.

    Args:
        study: The study to watch; nothing of it is changed.
        hosts: Names beside `localhost` under which the page may be asked for; addresses in figures always may.

    Returns:
        The application. Its answers carry strict headers and no cookies, and it knows GET and HEAD alone.

    Example:
        >>> import bayesopt as bo
        >>> study = bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="loss")
        >>> callable(application(study))
        True
    """
    watch = Watch(study)

    def read_study(request: Request) -> Response:
        look = watch.look()
        if request.headers.get("if-none-match") == look.version:
            return Response(status_code=304)
        return Response(look.body, headers={"ETag": look.version}, media_type="application/json")

    def read_trials(request: Request) -> Response:
        asked = request.query_params
        page = _whole(asked.get("page", "1"), "page", at_least=1)
        order, show = asked.get("order", "newest"), asked.get("show", "all")
        content = table(watch.look().snapshot, study.space, study.outcomes, page=page, order=order, show=show)
        return Response(_json(content), media_type="application/json")

    def read_trial(request: Request) -> Response:
        number = _whole(request.query_params.get("id", ""), "id", at_least=0)
        snapshot = watch.look().snapshot
        row = next((row for row, trial in enumerate(snapshot.trials) if trial.id == number), None)
        if row is None:
            return _refusal(f"there is no trial {number}", 404)
        return Response(_json(details(study, snapshot, row)), media_type="application/json")

    routes = [
        Route("/study.json", read_study),
        Route("/trials.json", read_trials),
        Route("/trial.json", read_trial),
        *(Route("/" if name == "page.html" else f"/{name}", _file(name)) for name in FILES),
    ]
    handlers: dict[Any, Callable[[Request, Exception], Response]] = {
        InvalidInputError: lambda _, error: _refusal(str(error), 400),
        StorageError: lambda _, error: _refusal(str(error), 503),
    }
    return Guard(Starlette(routes=routes, exception_handlers=handlers), hosts)


def _file(name: str) -> Callable[[Request], Response]:
    content = (files("bayesopt.web") / "files" / name).read_bytes()
    return lambda request: Response(content, media_type=FILES[name])


def _json(content: Any) -> bytes:
    # ASCII: names may hold halves of a character, which no encoding but JSON's own escapes can carry
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def _refusal(message: str, status: int) -> Response:
    return Response(_json({"error": message}), status_code=status, media_type="application/json")


def _whole(text: str, name: str, *, at_least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < at_least:
        raise InvalidInputError(f"{name}: expected a whole number from {at_least} on, got {shortened(text)!r}.")
    return number
