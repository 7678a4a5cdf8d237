"""Mailman 3's own handler for footers, with an English list."""
import email
import sys
from types import SimpleNamespace

from mailman.email.message import Message
from mailman.handlers import decorate

with open("footer.txt") as text:
    FOOTER = text.read()
LIST = SimpleNamespace(preferred_language=SimpleNamespace(charset="us-ascii"))
# What Mailman asks its database for.
decorate.decorate = lambda name, mlist, substitutions=None: FOOTER if name.endswith("footer") else ""
decorate.IListArchiverSet = lambda mlist: SimpleNamespace(archivers=[])

for line in sys.stdin:
    path = line.rstrip("\n")
    try:
        with open(path, "rb") as octets:
            message = email.message_from_bytes(octets.read().replace(b"\r\n", b"\n"), Message)
        decorate.process(LIST, message, {})
        with open(path + ".out", "wb") as made:
            made.write(message.as_bytes())
    except Exception as error:
        print(error, file=sys.stderr)
    print("done", flush=True)
