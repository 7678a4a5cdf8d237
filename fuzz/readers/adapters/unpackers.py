"""Programs that write the files of one message into a folder: munpack, ripmime, uudeview, mshow. The argument
chooses one."""
import email.parser
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import loop

COMMANDS = {
    "munpack": ["munpack", "-f", "-q", "MESSAGE"],
    "ripmime": ["ripmime", "-i", "MESSAGE", "-d", "."],
    "uudeview": ["uudeview", "-i", "-q", "-m", "MESSAGE"],
    "mshow": ["mshow", "-x", "MESSAGE"],
}
# What they call the texts of a message, and parts without a name.
TEXT = re.compile(r"textfile\d+|_headers_|part\d+|UNKNOWN\.\d+|tempdesc\.txt|\d{4}\.txt")
# munpack writes letters for what it wants in no file's name: here are encoded-words.
MASKED = re.compile(r"=X([\w-]+)X([BQbq])X(.*?)X=")
# ripMIME and mshow number files of one name.
NUMBER = re.compile(r"_\d+(?=(\.\w+)*\Z)")


def shown_as(name, octets):
    """The name of a file, or none where it is a text of the message."""
    if TEXT.fullmatch(name) or PROGRAM == "uudeview" and name == subject_of_text(octets):
        return ""
    return NUMBER.sub("", MASKED.sub(r"=?\1?\2?\3?=", name))


def subject_of_text(octets):
    """uudeview writes the text of a message that is nothing else into a file, and calls it by the subject's first word."""
    header = email.parser.BytesHeaderParser().parsebytes(octets)
    words = str(header.get("Subject", "")).split()
    return words[0] if words and header.get_content_maintype() == "text" and header.get_filename() is None else None


def files(octets):
    folder = pathlib.Path(tempfile.mkdtemp(dir=loop.MEMORY))
    try:
        message = folder / "message"
        message.write_bytes(octets.replace(b"\r\n", b"\n"))  # as it lies in a mailbox
        out = folder / "out"
        out.mkdir()
        command = [str(message) if word == "MESSAGE" else word for word in COMMANDS[PROGRAM]]
        subprocess.run(command, cwd=out, stdin=open(message, "rb"), capture_output=True, timeout=10,
                       env={**os.environ, "TMPDIR": str(folder)})
        for path in sorted(out.rglob("*")):
            if path.is_file() and not (PROGRAM == "munpack" and path.suffix == ".desc"):
                name = shown_as(path.name, octets)
                yield loop.file("text/plain", bool(name), name, path.read_bytes())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


PROGRAM = sys.argv[1]
loop.run(files)
