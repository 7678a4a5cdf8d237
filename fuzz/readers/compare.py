"""What a reader shows of a changed message that it did not show of the sealed one."""
import hashlib
import re
import unicodedata

EMPTY = 0  # a file without octets says nothing


def findings(sealed, changed, true):
    """A kind and a file for everything that should not be there: the file as the reader shows it, of a lost one as the
    reader showed it. `true` are the hashes of what the sealed parts decode to: a reader that misreads one honest
    encoding, and not another, is no finding.

    new-file      octets that the sealed message had in no part
    text-as-file  octets of a sealed text, now offered as a file
    renamed       octets of a sealed file under a name with another ending, or under another sealed file's name
    lost          octets of a sealed file that the reader no longer shows
    """
    if isinstance(sealed, dict) or isinstance(changed, dict):
        return  # the reader gave up: it shows no file at all
    texts = {found[2] for found in sealed if found[0] == "text"}
    names = {}
    for kind, name, digest, *_ in sealed:
        if kind == "file":
            names.setdefault(digest, set()).add(plain(name))
    for found in changed:
        kind, name, digest, size = found[:4]
        if kind != "file" or size == EMPTY:
            continue
        if digest not in names:
            if digest in true:
                continue
            yield ("text-as-file" if digest in texts else "new-file"), found
        elif plain(name) not in names[digest] and "=?" not in name and "''" not in name:
            others = set().union(*(owned for other, owned in names.items() if other != digest))
            if ending(name) not in {ending(known) for known in names[digest]} or plain(name) in others:
                yield "renamed", found
    shown = {found[2] for found in changed}
    for found in sealed:
        kind, name, digest, size = found[:4]
        if kind == "file" and size != EMPTY and digest in true and digest not in shown:
            yield "lost", found


def plain(name):
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", name)).strip()


def ending(name):
    found = re.search(r"\.(\w+)\W*$", plain(name))
    return found[1].lower() if found else ""


def flat(octets):
    """As the adapters show octets: line ends in one form, none at the end."""
    return octets.replace(b"\r\n", b"\n").rstrip(b"\r\n")


def digest(octets):
    return hashlib.sha256(flat(octets)).hexdigest()
