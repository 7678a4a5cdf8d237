"""reformime of maildrop and Courier: its list of the parts, then the content of each."""
import subprocess
import tempfile

import loop


def files(octets):
    with tempfile.NamedTemporaryFile(dir=loop.MEMORY) as message:
        message.write(octets)
        message.flush()
        for part in sections(reformime(message.name, "-i").decode("utf-8", "replace")):
            type = part.get("content-type", "text/plain")
            if type.startswith(("multipart/", "message/rfc822")):
                continue
            content = reformime(message.name, "-s", part["section"], "-e")
            name = part.get("content-disposition-filename") or part.get("content-name") or ""
            yield loop.file(type, part.get("content-disposition", "") == "attachment", name, content)


def reformime(path, *arguments):
    with open(path, "rb") as message:
        return subprocess.run(["reformime", *arguments], stdin=message, capture_output=True, timeout=10).stdout


def sections(listing):
    for block in listing.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "section" in fields:
            yield fields


loop.run(files)
