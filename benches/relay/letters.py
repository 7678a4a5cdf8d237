"""The messages: a text, and an attachment of random content in base64. The same octets every time."""

import base64
import random
from pathlib import Path

# Octets of the attachment, and messages to warm up with.
LETTERS = {"small": (20 << 10, 20), "medium": (1 << 20, 4), "large": (25 << 20, 1)}

AUTHOR, READER = "office@example.org", "desk@partner.example"
LINE = "The agenda for the visit is attached, please read it before you travel.\n"
# Octets on the wire of what is not attached, and octets on the wire for each one that is.
REST, CODED = 4_550, 78 / 57


class Letter:
    """One of them, as a file for smtp-source: its line ends are LF, on the wire they are CR LF."""

    def __init__(self, name: str, folder: Path, size: int, parts: int = 1, warm_up: int = 1):
        self.name, self.warm_up = name, warm_up
        self.file = folder / f"{name}.eml"
        self.file.write_text(text(name, size, parts), newline="\n")
        octets = self.file.read_bytes()
        self.megabytes = (len(octets) + octets.count(b"\n")) / 1e6
        shown = f"{self.megabytes:.1f} MB" if self.megabytes >= 1 else f"{self.megabytes * 1e3:.0f} kB"
        self.title = f"Messages of {shown}"

    @classmethod
    def usual(cls, name: str, folder: Path) -> "Letter":
        """One of LETTERS."""
        size, warm_up = LETTERS[name]
        return cls(name, folder, size, warm_up=warm_up)

    @classmethod
    def of(cls, megabytes: float, parts: int, folder: Path) -> "Letter":
        """About so large on the wire, with so many attachments of one size."""
        size = max(1, int((megabytes * 1e6 - REST) / CODED))
        return cls(f"of-{megabytes}-{parts}", folder, size, parts)


def text(name: str, size: int, parts: int) -> str:
    random_octets = random.Random(name)
    attached = "".join(attachment(random_octets.randbytes(max(1, size // parts)), part) for part in range(parts))
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
{attached}--=_bench--
"""


def attachment(content: bytes, number: int) -> str:
    file_name = f"Agenda-{number}.pdf" if number else "Agenda.pdf"
    return f"""--=_bench
Content-Type: application/pdf; name="{file_name}"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="{file_name}"

{base64.encodebytes(content).decode()}
"""
