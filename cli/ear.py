"""Listens to what a child process tells by systemd's protocol; see storage/notify.py for the child's side."""

import socket
import tempfile
from pathlib import Path

from storage.notify import ALIVE, READY


class Ear:
    """To be closed at the end. `environment` is what the child has to be given, with `patience` in seconds."""

    def __init__(self, patience: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="retrainbot-")
        path = Path(self._folder.name) / "ear"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(round(patience * 1_000_000))}

    def heard(self) -> set[str]:
        """Which of READY and ALIVE were said since the last time."""
        words: set[str] = set()
        try:
            while True:
                words.update(self._socket.recv(4096).decode("utf-8", "replace").splitlines())
        except BlockingIOError:
            return words & {READY, ALIVE}

    def close(self) -> None:
        self._socket.close()
        self._folder.cleanup()
