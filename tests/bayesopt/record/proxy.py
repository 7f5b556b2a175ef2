"""A PostgreSQL server that can go away: forwards a port, and cuts the line when a test says so."""

import contextlib
import socket
import threading


class Proxy:
    """Listens on a port of this host and forwards to a server; every fault is the test's to choose."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._swallow = b""
        self.n_swallowed = 0
        self.port = 0
        self.restore()

    def restore(self) -> None:
        """Listen again, on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Refuse new connections and break those there are."""
        # shutdown, not close alone: the thread in accept() would hold the port
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_connections()

    def break_connections(self) -> None:
        """Break the connections there are; new ones are welcome."""
        with self._lock:
            broken, self._open = self._open, []
        for end in broken:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def swallow_answer_to(self, words: bytes) -> None:
        """Break the line once the server has done what a message with these words says, before it can say so."""
        self._swallow = words

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            with self._lock:
                self._open += [client, server]
            condemned = threading.Event()
            threading.Thread(target=self._pump, args=(client, server, condemned, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, condemned, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, condemned: threading.Event, outward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if outward and self._swallow and self._swallow in data:
                    self._swallow = b""
                    self.n_swallowed += 1
                    condemned.set()
                elif not outward and condemned.is_set():
                    break  # the answer: the deed is done, and nobody will hear of it
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            if end is source:
                end.close()
