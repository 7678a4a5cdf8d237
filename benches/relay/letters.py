"""The messages: a text, and an attachment of random content in base64. The same octets every time."""

import base64
import random
from pathlib import Path

# Octets of the attachment, and messages to warm up with.
LETTERS = {"small": (20 << 10, 20), "medium": (1 << 20, 4), "large": (25 << 20, 1)}

AUTHOR, READER = "office@example.org", "desk@partner.example"
LINE = "The agenda for the visit is attached, please read it before you travel.\n"


class Letter:
    """One of them, as a file for smtp-source: its line ends are LF, on the wire they are CR LF."""

    def __init__(self, name: str, folder: Path):
        size, self.warm_up = LETTERS[name]
        self.name = name
        self.file = folder / f"{name}.eml"
        self.file.write_text(text(name, size), newline="\n")
        octets = self.file.read_bytes()
        self.megabytes = (len(octets) + octets.count(b"\n")) / 1e6
        shown = f"{self.megabytes:.1f} MB" if self.megabytes >= 1 else f"{self.megabytes * 1e3:.0f} kB"
        self.title = f"Messages of {shown}"


def text(name: str, size: int) -> str:
    content = base64.encodebytes(random.Random(name).randbytes(size)).decode()
    return f"""From: Office <{AUTHOR}>
To: Desk <{READER}>
Subject: {name}
Date: Mon, 23 Nov 2026 09:00:00 +0000
Message-ID: <{name}@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_bench"

--=_bench
Content-Type: text/plain; charset=us-ascii

{LINE * 56}
--=_bench
Content-Type: application/pdf; name="Agenda.pdf"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="Agenda.pdf"

{content}
--=_bench--
"""
