"""One run: so many messages from smtp-source to smtp-sink, and what it took."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import processes
from letters import AUTHOR, READER, Letter
from peers import Peer
from ports import free_port
from tunnel import Certificate, Tunnel

# A run that takes longer than this hangs.
PATIENCE = 180


@dataclass
class Run:
    """What a run of a peer, or a direct one, came to."""

    rate: float  # messages a second
    others: float  # share of the machine's CPU that went to programs not of this benchmark
    cpu_per_message: float | None = None  # seconds, user and system, of all the peer's processes
    peak: int | None = None  # octets of memory, the sum of each process' peak
    ratio: float | None = None  # to the direct run just before

    def __str__(self) -> str:
        cpu, peak = self.cpu_per_message * 1e3, self.peak / 2**20
        return f"{self.rate:.1f}/s, × {self.ratio:.3f}, {cpu:.2f} ms CPU, {peak:.0f} MiB, others {self.others:.0%}"


@dataclass
class Wire:
    """How messages travel."""

    keep_open: bool = False  # many messages a connection
    lmtp: bool = False
    tls: bool = False  # on both sides of the peer


class Sink:
    """smtp-sink or, with TLS, one of our own, and how many messages it has."""

    def __init__(self, folder: Path, wire: Wire):
        self.port, self.count, self.changed = free_port(), 0, 0.0
        self.certificate, self.way = None, None
        if wire.tls:
            self.certificate, self.implicit = Certificate.of(folder), free_port()
            ports = [str(self.port), str(self.implicit)]
            command = [sys.executable, Path(__file__).parent / "tls_sink.py", *ports, self.certificate.both]
        else:
            user = ["-u", "nobody"] if os.geteuid() == 0 else []  # As root it insists on one.
            lmtp = ["-L"] if wire.lmtp else []
            command = ["smtp-sink", *user, *lmtp, "-c", "-m", "3000", f"127.0.0.1:{self.port}", "3000"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self._follow, daemon=True).start()
        processes.await_listening(self.port)
        if wire.tls:
            self.way = Tunnel(folder, self.port, starttls=True)

    @property
    def direct(self) -> int:
        """The port to send to where there is no peer."""
        return self.way.port if self.way else self.port

    def _follow(self) -> None:
        """It writes its counters each time that one changes."""
        rest = b""
        while octets := os.read(self.process.stdout.fileno(), 1 << 16):
            counts = re.findall(rb"mesg= *(\d+)\D", rest + octets)
            rest = (rest + octets)[-64:]
            if counts and int(counts[-1]) != self.count:
                self.count, self.changed = int(counts[-1]), time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.way:
            self.way.stop()
        self.process.kill()
        self.process.wait()


class Meter:
    """What the peer and the machine do from now on."""

    def __init__(self, peer: Peer | None):
        self.peer = peer
        if peer:
            processes.reset_peaks(peer.pid)
            self.cpu = processes.cpu(peer.pid)
        self.busy, self.ours, self.begun = processes.machine_cpu(), processes.cpu(os.getpid()), time.monotonic()

    def run(self, count: int, seconds: float) -> Run:
        """The run that ends now: `count` messages, which took so many seconds."""
        run = Run(rate=count / seconds, others=0.0)
        if self.peer:
            run.cpu_per_message = (processes.cpu(self.peer.pid) - self.cpu) / count
            run.peak = processes.peak(self.peer.pid)
        ours = processes.cpu(os.getpid()) - self.ours
        whole = time.monotonic() - self.begun
        run.others = max(0.0, (processes.machine_cpu() - self.busy - ours) / whole / os.cpu_count())
        return run


def measure(
    letter: Letter, sessions: int, count: int, sink: Sink, peer: Peer | None, wire: Wire
) -> Run:
    """Sends `count` messages. The run ends when smtp-source has its last reply and smtp-sink its last message."""
    port, file = (peer.entry, peer.file(letter)) if peer else (sink.direct, letter.file)
    command = ["smtp-source", "-4", "-s", str(min(sessions, count)), "-m", str(count), "-F", str(file)]
    command += ["-d"] * wire.keep_open + ["-L"] * wire.lmtp
    command += ["-f", AUTHOR, "-t", READER, f"127.0.0.1:{port}"]
    wanted = sink.count + count
    meter = Meter(peer)

    source = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    start = await_socket(source)
    status = source.wait(PATIENCE)
    finished = time.monotonic()
    if status:
        raise RuntimeError(f"{peer.title if peer else 'direct'}: smtp-source ended with {status}")
    while sink.count < wanted:
        if time.monotonic() > finished + PATIENCE:
            raise RuntimeError(f"{wanted - sink.count} of {count} messages did not arrive")
        time.sleep(0.002)

    time.sleep(0.1)  # A peer may have something to clear away yet.
    return meter.run(count, max(finished, sink.changed) - start)


def await_socket(source: subprocess.Popen) -> float:
    """When smtp-source opened its first socket. It reads its file before that, which is no part of the run."""
    folder = f"/proc/{source.pid}/fd"
    while source.poll() is None:
        now = time.monotonic()
        try:
            if any(os.readlink(f"{folder}/{fd}").startswith("socket:") for fd in os.listdir(folder)):
                return now
        except OSError:
            pass  # That one was closed, or it has ended.
        time.sleep(0.0005)
    raise RuntimeError("smtp-source ended at once")


def idle_sessions(peer: Peer, count: int) -> tuple[int, float]:
    """Opens `count` sessions that say EHLO and then nothing: how many were greeted, and the octets that each costs.

    Memory is the proportional set size, so pages that processes share count once."""
    before = processes.resident(peer.pid)
    clients = []
    for _ in range(count):
        try:
            client = socket.create_connection(("127.0.0.1", peer.port), timeout=5)
            client.recv(1000)
            client.sendall(b"EHLO idle.example.org\r\n")
            if client.recv(1000).startswith(b"250"):
                clients.append(client)
        except OSError:
            break  # It takes no more.
    time.sleep(1)
    after = processes.resident(peer.pid)
    for client in clients:
        client.close()
    return len(clients), (after - before) / max(1, len(clients))
