"""What stands between smtp-source and smtp-sink. Each peer writes its configuration and stays in the foreground."""

import shutil
import signal
import subprocess
from pathlib import Path

import processes
from letters import Letter
from ports import free_port
from tunnel import Tunnel


class Peer:
    """A relay that runs, all its processes being children of one. `port` is its own, and `entry` the one to send to: with TLS,
    that of a tunnel to it."""

    title = ""
    programs: list[str] = []
    needs_root = False
    passes_on_at_the_end = False  # whether it waits for the final dot
    can_chunk = True  # whether it passes BDAT on
    has_starttls = True  # and not TLS from the first octet on

    def __init__(self, folder: Path, waxseal: Path, sink):
        self.folder, self.waxseal, self.certificate, self.port = folder, waxseal, sink.certificate, free_port()
        self.next_hop = sink.port
        if self.certificate:
            self.next_hop = sink.port if self.has_starttls else sink.implicit
        with open(folder / "log", "w") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid
        try:
            processes.await_listening(self.port)
        except RuntimeError as error:
            self.stop()
            raise RuntimeError(f"{self.title}: {error}\n{(folder / 'log').read_text()}") from error
        self.tunnel = Tunnel(folder, self.port, self.has_starttls) if self.certificate else None
        self.entry = self.tunnel.port if self.tunnel else self.port

    def command(self) -> list[str]:
        """Writes what the program needs to be told, and says how to start it."""
        raise NotImplementedError

    def file(self, letter: Letter) -> Path:
        """The file to send through this peer."""
        return letter.file

    def stop(self) -> None:
        """Ends the whole family: not every program's first process tells the others."""
        if tunnel := getattr(self, "tunnel", None):
            tunnel.stop()
        family = processes.tree(self.pid)
        for ask in (signal.SIGTERM, signal.SIGKILL):
            processes.signal_all(family, ask)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                continue
            if processes.await_end(family):
                return


class Haproxy(Peer):
    """Passes octets on, and knows nothing of SMTP: about the least that a hop can cost."""

    title = "HAProxy, tcp"
    programs = ["haproxy"]
    has_starttls = False

    def command(self) -> list[str]:
        file = self.folder / "haproxy.cfg"
        bind, server = (f"ssl crt {self.certificate.both}", "ssl verify none") if self.certificate else ("", "")
        file.write_text(f"""\
global
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 300s
  timeout server 300s
listen smtp
  bind 127.0.0.1:{self.port} backlog 1024 {bind}
  server sink 127.0.0.1:{self.next_hop} {server}
""")
        return ["haproxy", "-db", "-f", str(file)]


class Postfix(Peer):
    """A plain relay: takes the message, has it safely on disk, answers 250, and sends it on, by DATA."""

    title = "Postfix"
    can_chunk = False
    programs = ["postfix"]
    needs_root = True

    def command(self) -> list[str]:
        for part in ("config", "queue", "data"):
            (self.folder / part).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        tls = ""
        if self.certificate:
            tls = f"""\
smtpd_tls_security_level = may
smtpd_tls_cert_file = {self.certificate.certificate}
smtpd_tls_key_file = {self.certificate.key}
smtp_tls_security_level = encrypt
"""
        (self.folder / "config/main.cf").write_text(f"""\
compatibility_level = 3.6
myhostname = mail.example.org
queue_directory = {self.folder}/queue
data_directory = {self.folder}/data
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
relayhost = [127.0.0.1]:{self.next_hop}
smtpd_peername_lookup = no
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
message_size_limit = 0
mailbox_size_limit = 0
in_flow_delay = 0
default_process_limit = 1100
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
{tls}""")
        (self.folder / "config/master.cf").write_text(f"""\
127.0.0.1:{self.port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
""")
        return ["postfix", "-c", str(self.folder / "config"), "start-fg"]


class Gateway(Peer):
    """waxseal with its defaults, but for how many clients may come from one address."""

    mode = ""
    passes_on_at_the_end = True

    def command(self) -> list[str]:
        self.keygen()
        tls, next_hop_tls = "", "off"
        if self.certificate:
            tls = f'[tls]\ncertificate = "{self.certificate.certificate}"\nkey = "{self.certificate.key}"'
            next_hop_tls = "encrypt"
        file = self.folder / "waxseal.toml"
        file.write_text(f"""\
hostname = "gate.example.org"
state = "state"
[[listener]]
name = "bench"
mode = "{self.mode}"
listen = ["127.0.0.1:{self.port}"]
next_hop = "127.0.0.1:{self.next_hop}"
next_hop_tls = "{next_hop_tls}"
clients = ["127.0.0.1"]
{self.keys()}
{tls}
[limits]
message_size = "200MB"
connections = 2000
connections_per_client = 2000
""")
        return [str(self.waxseal), "run", "--config", str(file)]

    def keygen(self) -> None:
        self.key = self.folder / "gate1.pem"
        command = ["keygen", "--domain", "example.org", "--selector", "gate1", "--out", str(self.key)]
        made = subprocess.run([self.waxseal, *command], capture_output=True, text=True, check=True)
        # The record stands in the zone-file line as a quoted string.
        line = next(line for line in made.stdout.splitlines() if line.startswith("gate1."))
        self.record = line.split('"')[1]

    def keys(self) -> str:
        raise NotImplementedError


class Sealing(Gateway):
    title = "waxseal, sealing"
    mode = "seal"

    def keys(self) -> str:
        return f'[[domain]]\nname = "example.org"\nselector = "gate1"\nkey = "{self.key}"'


class Verifying(Gateway):
    """The key is pinned, and the messages were sealed with it before."""

    title = "waxseal, verifying"
    mode = "verify"

    def keys(self) -> str:
        return f'[[correspondent]]\ndomain = "example.org"\nkeys = ["{self.record}"]'

    def file(self, letter: Letter) -> Path:
        sealed = self.folder / letter.file.name
        if not sealed.exists():
            command = [self.waxseal, "seal", "--key", self.key, "--domain", "example.org", "--selector", "gate1"]
            with open(sealed, "wb") as out:
                subprocess.run([*command, letter.file], stdout=out, check=True)
        return sealed


PEERS = {"haproxy": Haproxy, "seal": Sealing, "verify": Verifying, "postfix": Postfix}
