"""Ports for what is started here."""

import os
import socket

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody uses now, below those that the system gives to clients."""
    for port in range(20_000 + os.getpid() % 500 * 20, 32_000):
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise RuntimeError("no free port")
