"""The loop of every adapter in Python: a path on each line of stdin, a list of files in JSON on stdout."""
import base64
import hashlib
import json
import os
import sys

MAX_CONTENT = 64 << 10  # octets of a file that the answer holds besides its hash
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # where files for the readers lie


def file(type, attached, name, octets):
    """One leaf: "text" is what a reader shows as the message itself, "file" is what it offers to save."""
    type = type.lower().split()[0]
    # A multipart that is a leaf to the reader is shown as the octets that it is made of.
    text = (type in ("text/plain", "text/html") or type.startswith("multipart/")) and not attached and not name
    octets = octets.replace(b"\r\n", b"\n").rstrip(b"\r\n")
    content = base64.b64encode(octets[:MAX_CONTENT]).decode()
    return ["text" if text else "file", name, hashlib.sha256(octets).hexdigest(), len(octets), content]


def run(files):
    for line in sys.stdin:
        with open(line.rstrip("\n"), "rb") as message:
            octets = message.read()
        try:
            answer = list(files(octets))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
