"""The page behind a real socket, in a thread of the test."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn

from bayesopt.web import application


@contextlib.contextmanager
def served(study) -> Iterator[str]:
    """The address of a study's page."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application(study), log_level="warning", lifespan="off", ws="none", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listener.close()


def ask(address, path="/", method="GET", **headers):
    """Status, headers and body of one answer."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def ask_json(address, path):
    """The content of an answer."""
    status, _, body = ask(address, path)
    assert status == 200, body
    return json.loads(body)
