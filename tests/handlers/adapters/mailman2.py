"""What Mailman 2.1 does in Handlers/Decorate.py and Message.py, with the email package of Python 2."""
from __future__ import print_function

import copy
import email
import email.generator
import sys
from cStringIO import StringIO
from email.mime.text import MIMEText

FOOTER = open("footer.txt").read()


class Generator(email.generator.Generator):
    """It leaves the header sections of parts as they are, since they may be signed."""

    def clone(self, out):
        return self.__class__(out, False, 0)


def decorate(message):
    if message.get_content_type() == "text/plain" and not message.is_multipart():
        charset = message.get_content_charset() or "us-ascii"
        format, delsp = message.get_param("format"), message.get_param("delsp")
        try:
            payload = message.get_payload(decode=True).decode(charset)
            payload += u"" if payload.endswith(u"\n") else u"\n"
            payload = (payload + FOOTER.decode("ascii"))
            for wanted in ("us-ascii", charset, "utf-8"):
                try:
                    encoded = payload.encode(wanted)
                except UnicodeError:
                    continue
                del message["content-transfer-encoding"]
                message.set_payload(encoded, wanted)
                if format:
                    message.set_param("Format", format)
                if delsp:
                    message.set_param("DelSp", delsp)
                return
        except (LookupError, UnicodeError):
            pass
    footer = MIMEText(FOOTER, "plain", "us-ascii")
    footer["Content-Disposition"] = "inline"
    if message.get_content_type() == "multipart/mixed" and message.is_multipart():
        message.attach(footer)
        return
    inner = copy.deepcopy(message)
    for name in set(inner.keys()):
        if not name.lower().startswith("content-"):
            del inner[name]
    message.set_payload([inner, footer])
    for name in ("content-type", "content-transfer-encoding", "content-disposition"):
        del message[name]
    message["Content-Type"] = "multipart/mixed"


for line in iter(sys.stdin.readline, ""):
    path = line.rstrip("\n")
    try:
        message = email.message_from_string(open(path, "rb").read().replace("\r\n", "\n"))
        decorate(message)
        out = StringIO()
        Generator(out, False).flatten(message)
        with open(path + ".out", "wb") as made:
            made.write(out.getvalue())
    except Exception as error:
        print(error, file=sys.stderr)
    print("done")
    sys.stdout.flush()
