"""Exim on both sides: exim -> peer -> exim, so that messages come and go by BDAT (RFC 3030)."""

import shutil
import subprocess
import time
from pathlib import Path

import processes
from letters import AUTHOR, READER, Letter
from measure import PATIENCE, Meter, Run
from peers import Peer
from ports import free_port

USER = "Debian-exim"


class Exim:
    """The next hop, which takes messages and throws them away; and a sender with a queue of its own."""

    certificate = None

    def __init__(self, folder: Path):
        self.folder, self.port = folder / "exim", free_port()
        self.folder.mkdir(exist_ok=True)
        self.process = subprocess.Popen(self.command("sink", self.port, "discard:\n  driver = redirect\n  data = :blackhole:\n", "-bdf"),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes.await_listening(self.port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def command(self, name: str, port: int, routers: str, *arguments: str) -> list[str]:
        """Writes a configuration, and says how to start Exim with it."""
        folder = self.folder / name
        for part in ("spool", "log"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            shutil.chown(folder / part, USER)
        program = self.folder / "exim4"
        if not program.exists():
            shutil.copy(shutil.which("exim4"), program)  # Where it was unpacked, its user may not look.
        file = folder / "exim.conf"
        file.write_text(f"""\
exim_path = {program}
primary_hostname = {name}.test
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/spool/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
chunking_advertise_hosts = *
smtp_accept_max = 0
queue_run_max = 0
message_size_limit = 200M
deliver_drop_privilege
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin routers
{routers}begin transports
smtp:
  driver = smtp
  hosts_try_chunking = *
""")
        return [str(program), "-C", str(file), *arguments]

    def measure(self, letter: Letter, count: int, peer: Peer | None) -> Run:
        """Sends `count` messages from a queue, one a connection. The rate has Exim's own work for each message in it."""
        port, file = (peer.port, peer.file(letter)) if peer else (self.port, letter.file)
        router = f"on:\n  driver = manualroute\n  route_list = * 127.0.0.1::{port} byname\n  self = send\n  transport = smtp\n"
        sender = self.command("sender", 0, router)
        message = file.read_bytes().replace(b"\n.", b"\n..")
        batch = b"MAIL FROM:<%s>\nRCPT TO:<%s>\nDATA\n%s\n.\n" % (AUTHOR.encode(), READER.encode(), message)
        subprocess.run([*sender, "-odq", "-bS"], input=batch * count, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
        meter, begun = Meter(peer), time.monotonic()
        subprocess.run([*sender, "-qf"], check=True, timeout=PATIENCE)
        seconds = time.monotonic() - begun
        left = subprocess.run([*sender, "-bpc"], capture_output=True, text=True, check=True).stdout.strip()
        if left != "0":
            raise RuntimeError(f"{left} of {count} messages are still in Exim's queue")
        return meter.run(count, seconds)
