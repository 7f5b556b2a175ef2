"""A PostgreSQL server of a test's own, for what nobody may do to a shared one: stop it."""

import os
import shutil
import socket
import subprocess
from pathlib import Path


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, if this machine has them."""
    # Debian keeps them out of PATH, one folder for each major version.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    anywhere = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(anywhere).resolve().parent if anywhere else None


class Server:
    """Starts, stops and restarts; `folder` must be reachable for other users when root runs the tests."""

    def __init__(self, folder: Path) -> None:
        self._programs, self._folder = programs(), folder
        # PostgreSQL refuses to run as root.
        self._as_server = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self._as_server:
            shutil.chown(folder, "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._run("initdb", "--auth=trust", "--username=tester", "--no-sync", "--encoding=UTF8", "--locale=C")
        self.url = f"postgresql://tester@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self._folder / 'log'}", f"--options={options}")

    def stop(self, mode: str) -> None:
        """Stop: 'fast' says goodbye to its clients, 'immediate' is a crash."""
        self._run("pg_ctl", "stop", "--wait", "--silent", f"--mode={mode}")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_server, str(self._programs / program), f"--pgdata={self._folder / 'data'}", *arguments]
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL)
