"""The server behind the page: a socket on this machine, and uvicorn."""

import contextlib
import socket
from typing import Final

import uvicorn

from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import whole_number
from bayesopt.study import Study
from bayesopt.web.application import application
from bayesopt.web.snapshot import Snapshot

_LAST_PORT: Final = 65535


def serve(study: Study, *, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Show a study in the browser until Ctrl-C; prints the address.

    Nothing of the study is changed. There is no password: whoever reaches the address may read the study, which by
    default is whoever is logged in to this machine.

    Args:
        study: The study, stored or live. Beliefs and a budget are shown as far as it knows them: no storage keeps them.
        host: Address or name of this machine to listen on; '0.0.0.0' is every address that it has.
        port: From 0 to 65535; 0 takes any that is free.

    Raises:
        InvalidInputError: If the address or the port cannot be used.
    """
    number = whole_number("port", port, at_least=0)
    if number > _LAST_PORT:  # the system would count on from 0
        raise InvalidInputError(f"port: expected a whole number of at most {_LAST_PORT}, got {port!r}.")
    with _listening(host, number) as listener:
        Snapshot.of(study)  # the first look at a long study takes longest: it is over before anybody waits for the page
        shown = f"[{host}]" if ":" in host else host
        print(f"Watching {study.name!r} at http://{shown}:{listener.getsockname()[1]} (Ctrl-C ends)", flush=True)
        config = uvicorn.Config(
            application(study, hosts=(host, socket.gethostname())),
            log_level="warning",
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=2,
        )
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it
            uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        raise InvalidInputError(
            f"host {host!r}, port {port}: cannot listen there ({error}); give an address of this machine, and a port "
            "from 1024 to 65535 that is free, or 0 for any."
        ) from None
