"""mail-parser, which tools against phishing are built on."""
import base64
import re

import mailparser

import loop

# The random name of a file without one.
MADE_UP = re.compile(r"[a-z]{10}(\.\w+)?")


def files(octets):
    for found in mailparser.parse_from_bytes(octets).attachments:
        content = found["payload"]
        if found.get("binary"):
            content = base64.b64decode(content)
        else:
            content = content.encode("utf-8", "surrogateescape")
        name = "" if MADE_UP.fullmatch(found["filename"]) else found["filename"]
        yield loop.file(found["mail_content_type"], True, name, content)


loop.run(files)
