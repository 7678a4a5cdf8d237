"""The attacks of the core's tests, for the self-test: the same files, the same format."""
import pathlib

import seeds

PICTURES = {"␍": "\r", "␊": "\n", "␀": "\0", "␠": " ", "␉": "\t"}


def cases():
    """The name, the unsealed base, and the changes of each attack that is a change of the base below its own seal."""
    root = seeds.TESTS / "attacks"
    for path in sorted(root.rglob("*.txt")):
        head, *changes = path.read_text().split("\n\n--- from\n")
        lines = [line.split(":")[0] for line in head.splitlines()]
        if not changes or any(line in ("message", "seals", "sealed-by") for line in lines):
            continue
        base = next(folder / "base.eml" for folder in path.parents if (folder / "base.eml").exists())
        base = base.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        yield str(pathlib.Path(path).relative_to(root))[:-4], base, [change.split("\n+++ to\n") for change in changes]


def apply(sealed, changes):
    """The attacked message, or None where a text to change is not in it."""
    for change in changes:
        old, new = octets(change[0]), octets(change[1].rstrip("\n") if len(change) > 1 else "")
        if old not in sealed:
            return None
        sealed = sealed.replace(old, new, 1)
    return sealed


def octets(text):
    text = text.removeprefix("+++ to\n").replace("\n", "\r\n")
    for picture, character in PICTURES.items():
        text = text.replace(picture, character)
    return text.encode()
