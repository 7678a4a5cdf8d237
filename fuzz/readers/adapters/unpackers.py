"""Programs that write the files of one message into a folder: munpack, ripmime, uudeview, mshow. The argument
chooses one."""
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
TEXT = re.compile(r"textfile\d+|_headers_|part\d+|UNKNOWN\.\d+")


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
                name = path.name
                text = TEXT.fullmatch(name)
                yield loop.file("text/plain", not text, "" if text else name, path.read_bytes())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


PROGRAM = sys.argv[1]
loop.run(files)
