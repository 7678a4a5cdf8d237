"""A next hop of our own, which notes when the first octet of a message comes, and a client that sends one."""

import socket
import threading
import time
from pathlib import Path

from letters import AUTHOR, READER

PATIENCE = 180
BLOCK = 1 << 20


class Watch:
    """A next hop without extensions. It takes what smtp-sink's place takes in a peer's configuration."""

    certificate = None

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.first = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.sendall(b"220 sink.test ESMTP\r\n")
        rest = b""
        while octets := connection.recv(BLOCK):
            *commands, rest = (rest + octets).split(b"\r\n")
            for command in commands:
                if command.upper() == b"DATA":
                    connection.sendall(b"354 go on\r\n")
                    self._take(connection)
                    connection.sendall(b"250 taken\r\n")
                elif command.upper() == b"QUIT":
                    connection.sendall(b"221 bye\r\n")
                    connection.close()
                    return
                else:
                    connection.sendall(b"250 sink.test\r\n")

    def _take(self, connection: socket.socket) -> None:
        end = connection.recv(BLOCK)
        self.first = time.monotonic()
        while not end.endswith(b"\r\n.\r\n"):
            end = end[-5:] + connection.recv(BLOCK)


def last_wait(port: int, watch: Watch, file: Path) -> float:
    """Seconds from the final dot of a message to the first octet of it at the next hop. The gateway has time to read all that
    is before the dot."""
    message = file.read_bytes().replace(b"\n", b"\r\n")
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        replies = client.makefile("rb")

        def reply() -> None:
            while replies.readline()[3:4] == b"-":
                pass

        reply()
        for command in ("EHLO bench", f"MAIL FROM:<{AUTHOR}>", f"RCPT TO:<{READER}>", "DATA"):
            client.sendall(f"{command}\r\n".encode())
            reply()
        client.sendall(message)
        time.sleep(0.3)
        begun = time.monotonic()
        client.sendall(b".\r\n")
        reply()
        return watch.first - begun
