"""TLS for smtp-source, which has none."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import processes
from ports import free_port


@dataclass
class Certificate:
    """A certificate that has signed itself, with its key."""

    certificate: Path
    key: Path
    both: Path  # in one file, as HAProxy wants it

    @classmethod
    def of(cls, folder: Path) -> "Certificate":
        """The one of this folder, made if it is not there."""
        made = cls(folder / "tls.crt", folder / "tls.key", folder / "tls.pem")
        if not made.both.exists():
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                       "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", made.key, "-out", made.certificate]
            subprocess.run(command, check=True, capture_output=True)
            made.both.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
            made.key.chmod(0o644)  # The daemons of a peer may run as users of their own.
        return made


class Tunnel:
    """A running stunnel: what comes to its port in clear goes to another one in TLS."""

    def __init__(self, folder: Path, to: int, starttls: bool):
        self.port = free_port()
        file = folder / f"stunnel-{self.port}.conf"
        file.write_text(f"""\
foreground = yes
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
debug = err
[smtp]
client = yes
accept = 127.0.0.1:{self.port}
connect = 127.0.0.1:{to}
{"protocol = smtp" if starttls else ""}
""")
        self.process = subprocess.Popen(["stunnel", file], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes.await_listening(self.port)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
