"""Who may ask, and what a browser may do with the answer: the page shows names and texts that anybody may have written.

A page elsewhere cannot read ours, since no other origin is allowed to. It could point a name of its own at this
machine, though, and ask under that name (DNS rebinding); hence the name that a request asks for is checked. An address
in figures cannot be pointed anywhere and is always accepted.
"""

import ipaddress
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final = {
    # Only files of our own run or are fetched; nothing frames the page or is sent from it; no text becomes markup.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # What a study holds stays out of the browser's files, and an upgrade is seen at once.
    "Cache-Control": "no-store",
}
"""Headers of every answer."""


class Guard:
    """Answers requests to known names alone, and adds `HEADERS` to whatever is answered."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        """Stand before an application.

        Args:
            app: What answers.
            hosts: Names beside `localhost` under which it may be asked.
        """
        self._app = app
        self._names = {"localhost", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        app = self._app
        if scope["type"] == "http" and not self._is_known(Headers(scope=scope).getlist("host")):
            app = PlainTextResponse(
                "This page answers to localhost, to addresses in figures and to the name given as --host.\n", 421
            )
        await app(scope, receive, send_guarded)

    def _is_known(self, hosts: list[str]) -> bool:
        return len(hosts) == 1 and (
            (name := _without_port(hosts[0]).lower()) in self._names or _is_address(name.strip("[]"))
        )


def _without_port(host: str) -> str:
    # The colons of [::1] are no port's.
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and (":" not in name or name.endswith("]")) else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
